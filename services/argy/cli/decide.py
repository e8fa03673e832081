"""``argy check`` and ``argy explain``: ask the platform from a terminal."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.struct_pb2 import Struct

from argy.api.authz.v1.authz_pb2 import EFFECT_ALLOW, Effect, ExplainRequest, Question
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.base.errors import InvalidArgument
from argy.base.facts import refuse_inexact
from argy.cli.options import Action, Context, Resource, Subject
from argy.cli.subjects import Subjects
from argy.cli.terminal import Terminal, asking
from argy.client import Authorizer


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("check")(check)
    app.command("explain")(explain)


@asking(org=True)
async def check(
    terminal: Terminal,
    subject: Subject,
    action: Action,
    resource: Resource,
    context: Context = "{}",
    at_least: Annotated[str, typer.Option(help="Revision that must have been seen.")] = "",
) -> bool:
    """Ask whether SUBJECT may do ACTION to RESOURCE. Exit code 0 is ALLOW, 1 is anything else."""
    facts = parse_facts(context)
    subjects, org_id = await terminal.subjects(), await terminal.org_id()
    asked_for = await subjects.find(subject)
    answer = await Authorizer(terminal.connection).check(
        asked_for,
        action,
        resource,
        tenant_id=subjects.tenant_id,
        org_id=org_id,
        context=facts,
        at_least=at_least,
    )
    value: dict[str, Any] = {
        "subject": asked_for,
        "effect": answer.effect,
        "reason": answer.reason,
        "rule": answer.rule,
        "role_path": list(answer.role_path),
        "policy_revision": answer.policy_revision,
        "revision": answer.revision,
    }
    if answer.approvals:
        value["approvals"] = [asdict(need) for need in answer.approvals]
    lines = [f"{answer.effect}  {answer.reason}"]
    if answer.rule:
        lines.append(f"  rule  {answer.rule}")
    if answer.role_path:
        lines.append(f"  path  {await _path(subjects, answer.role_path)}")
    lines += [
        f"  needs {need.approvals} of {' or '.join(need.roles)}  ({need.rule})"
        for need in answer.approvals
    ]
    if answer.approvals:
        asked = f"{subject} {action} {resource} {terminal.place}"
        lines.append(f"  ask   argy approval request {asked} -m …")
    lines.append(f"  at    policy {answer.policy_revision[:12]}, revision {answer.revision}")
    org = f", org {terminal.org}" if terminal.org else ""
    lines.append(f"  in    tenant {terminal.tenant_name}{org}")
    terminal.output.result(value, lambda: "\n".join(lines))
    return answer.allowed


@asking(org=True)
async def explain(
    terminal: Terminal,
    subject: Subject,
    action: Action,
    resource: Resource,
    context: Context = "{}",
) -> bool:
    """Show every rule that took part in a decision, and the nearest that did not."""
    subjects = await terminal.subjects()
    question = question_of(await subjects.find(subject), action, resource, context)
    stub = AuthzServiceStub(await terminal.channel())
    response = await stub.Explain(ExplainRequest(question=question))
    names = await subjects.names(step for match in response.matches for step in match.role_path)

    def text() -> str:
        lines = [f"{_effect(response.decision.effect)}  {response.decision.reason}"]
        lines.append(f"  roles here: {', '.join(response.roles) or 'none'}")
        for match in response.matches:
            mark = "matched" if match.matched else "missed "
            lines.append(f"  {mark}  {match.rule.file}:{match.rule.line}  {match.rule.text}")
            lines.append(f"           {match.detail}")
            if match.role_path:
                path = (names.get(step, step) for step in match.role_path)
                lines.append(f"           {' → '.join(path)}")
        return "\n".join(lines)

    terminal.output.result(MessageToDict(response, preserving_proto_field_name=True), text)
    return response.decision.effect == EFFECT_ALLOW


async def _path(subjects: Subjects, steps: Sequence[str]) -> str:
    """A role path as people call those on it."""
    names = await subjects.names(steps)
    return " → ".join(names.get(step, step) for step in steps)


def _effect(effect: "Effect.ValueType") -> str:
    return Effect.Name(effect).removeprefix("EFFECT_")


def question_of(subject: str, action: str, resource: str, context: str) -> Question:
    """A question with the facts of ``--context``; raises as ``parse_facts``."""
    question = Question(subject=subject, action=action, resource=resource)
    if facts := parse_facts(context):
        question.context.CopyFrom(ParseDict(facts, Struct()))
    return question


def parse_facts(text: str) -> dict[str, Any]:
    """Parse ``--context``: a JSON object of strings, numbers, booleans, lists and objects."""
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise InvalidArgument("--context must be a JSON object", field="context")
        refuse_inexact(value)
        ParseDict(value, Struct())
    except (json.JSONDecodeError, ParseError, RecursionError) as error:
        raise InvalidArgument(f"--context is not JSON: {error}", field="context") from error
    return value
