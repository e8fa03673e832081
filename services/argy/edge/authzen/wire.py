"""Requests of the Authorization API read into values; answers written as its JSON.

Unknown members are ignored, as the specification demands. What a request must have and hasn't is
``Misshapen``. What is well-formed but can't be asked here, such as an id with a line break, is
``Unaskable``. In a batch either is the one item's error.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from argy.api.authz.v1.authz_pb2 import EFFECT_ALLOW, Decision, Effect
from argy.base.errors import ArgyError, InvalidArgument
from argy.base.identifiers import (
    MAX_ACTION_BYTES,
    MAX_RESOURCE_BYTES,
    MAX_SUBJECT_BYTES,
    SIMPLE_TYPE,
    identifier_problem,
)
from argy.edge.authzen.domain import Batch, Evaluation, Item, Page, Search, Semantic
from argy.edge.problems import http_status

MAX_EVALUATIONS: Final = 1000
MAX_LIMIT: Final = 1000
MAX_PAGE_TOKEN: Final = 4096
_TUPLE: Final = ("subject", "action", "resource", "context")

_TYPE: Final = re.compile(SIMPLE_TYPE)
_MAX_TYPE_BYTES: Final = 64
_NAMING: Final = ("type", "id", "name")
"""What says which entity is meant."""

Json = Mapping[str, Any]


class Misshapen(InvalidArgument):
    """The request is none of the API's: a member is missing, or of another type."""


class Unaskable(InvalidArgument):
    """The request is well-formed, and asks what can't be asked here."""


class UnknownType(Unaskable):
    """An entity is of a type that nothing here can have."""


def read_evaluation(body: Json) -> Evaluation:
    """An Access Evaluation request.

    Raises:
        Misshapen: with the JSON pointer of the member.
        Unaskable: likewise.
    """
    return _evaluation(body, dict.fromkeys(_TUPLE, ""))


def read_batch(body: Json) -> Batch | None:
    """An Access Evaluations request; None when it is a single one, without ``evaluations``.

    Raises:
        Misshapen: for the batch as a whole; an item's error stands in the item's place.
    """
    semantic = _semantic(body)
    items = body.get("evaluations", [])
    if not isinstance(items, list):
        raise _misshapen("/evaluations", "must be an array")
    if len(items) > MAX_EVALUATIONS:
        raise _misshapen("/evaluations", f"must have at most {MAX_EVALUATIONS} items")
    if not items:
        return None
    for name in _TUPLE:
        if name in body:
            _object(body, name, f"/{name}")
    return Batch([_item(body, item, number) for number, item in enumerate(items)], semantic)


def read_search(body: Json, kind: str) -> Search:
    """A Search request; ``kind`` is ``subject``, ``resource`` or ``action``.

    An id of what is searched for is ignored, as the specification demands.

    Raises:
        Misshapen: with the JSON pointer of the member.
        Unaskable: likewise.
    """
    subject, subject_facts = _subject(body, "/subject", searched=kind == "subject")
    action, action_facts = ("", None) if kind == "action" else _action(body, "/action")
    resource, resource_facts = _resource(body, "/resource", searched=kind == "resource")
    facts = _facts(
        body,
        "/context",
        {"subject": subject_facts, "action": action_facts, "resource": resource_facts},
    )
    return Search(kind, subject, action, resource, facts, _page(body))


def decision_json(decision: Decision, policy_revision: str, revision: str) -> dict[str, Any]:
    """A decision: true for ALLOW alone, with what it stood on as its context."""
    context: dict[str, Any] = {
        "reason": decision.reason,
        "effect": Effect.Name(decision.effect).removeprefix("EFFECT_"),
        "policy_revision": policy_revision,
        "revision": revision,
    }
    if decision.HasField("rule"):
        context["rule"] = f"{decision.rule.file}:{decision.rule.line}"
    if decision.role_path:
        context["role_path"] = list(decision.role_path)
    if decision.approvals:
        context["approvals"] = [
            {
                "approvals": needed.approvals,
                "roles": list(needed.roles),
                "expires_in_s": needed.expires_in_s,
                "rule": f"{needed.rule.file}:{needed.rule.line}",
            }
            for needed in decision.approvals
        ]
    return {"decision": decision.effect == EFFECT_ALLOW, "context": context}


def error_json(error: ArgyError) -> dict[str, Any]:
    """The result of an item that can't be asked: a denial that says why."""
    told = {"status": http_status(error), "message": error.message, "reason": error.reason}
    if error.field is not None:
        told["pointer"] = error.field
    return {"decision": False, "context": {"error": told}}


def entity_json(name: str) -> dict[str, str]:
    """``type:id`` as the API writes a subject or a resource."""
    kind, _, rest = name.partition(":")
    return {"type": kind, "id": rest}


def _item(body: Json, item: Any, number: int) -> Item:
    pointer = f"/evaluations/{number}"
    if not isinstance(item, dict):
        return _misshapen(pointer, "must be an object")
    # An item's own member takes the place of the default, but for which entity is meant where it
    # doesn't say (certification scenario, "Batch with default value merging").
    merged = {name: body[name] for name in _TUPLE if name in body}
    for name in _TUPLE:
        own = item.get(name)
        if isinstance(own, dict) and name in body and name != "context":
            merged[name] = {key: body[name][key] for key in _NAMING if key in body[name]} | own
        elif name in item:
            merged[name] = own
    pointers = {name: pointer if name in item or name not in body else "" for name in _TUPLE}
    try:
        return _evaluation(merged, pointers)
    except (Misshapen, Unaskable) as error:
        return error


def _evaluation(body: Json, pointers: Mapping[str, str]) -> Evaluation:
    subject, subject_facts = _subject(body, f"{pointers['subject']}/subject")
    action, action_facts = _action(body, f"{pointers['action']}/action")
    resource, resource_facts = _resource(body, f"{pointers['resource']}/resource")
    facts = _facts(
        body,
        f"{pointers['context']}/context",
        {"subject": subject_facts, "action": action_facts, "resource": resource_facts},
    )
    return Evaluation(subject, action, resource, facts)


def _subject(body: Json, pointer: str, *, searched: bool = False) -> tuple[str, Json | None]:
    entity = _object(body, "subject", pointer)
    named = _named(entity, pointer, MAX_SUBJECT_BYTES, searched=searched)
    if named.startswith("role:"):
        raise UnknownType(
            f"{pointer}/type: a role is no subject", reason="INVALID_FIELD", field=f"{pointer}/type"
        )
    return named, _properties(entity, pointer)


def _resource(body: Json, pointer: str, *, searched: bool = False) -> tuple[str, Json | None]:
    entity = _object(body, "resource", pointer)
    named = _named(entity, pointer, MAX_RESOURCE_BYTES, searched=searched)
    return named, _properties(entity, pointer)


def _named(entity: Json, pointer: str, most: int, *, searched: bool) -> str:
    """``type:id`` of an entity, in at most ``most`` bytes; without the id where it is searched."""
    kind = _text(entity, "type", pointer)
    name = "" if searched else _text(entity, "id", pointer)
    if not _TYPE.fullmatch(kind) or len(kind) > _MAX_TYPE_BYTES:
        raise UnknownType(
            f"{pointer}/type must be up to {_MAX_TYPE_BYTES} lower-case letters, digits, . and _",
            reason="INVALID_FIELD",
            field=f"{pointer}/type",
        )
    if not searched and (wrong := identifier_problem(name, most - len(kind) - 1)):
        raise _unaskable(f"{pointer}/id", wrong)
    return f"{kind}:{name}"


def _action(body: Json, pointer: str) -> tuple[str, Json | None]:
    entity = _object(body, "action", pointer)
    name = _text(entity, "name", pointer)
    if wrong := identifier_problem(name, MAX_ACTION_BYTES):
        raise _unaskable(f"{pointer}/name", wrong)
    return name, _properties(entity, pointer)


def _facts(body: Json, pointer: str, properties: Mapping[str, Json | None]) -> dict[str, Any]:
    context = _object(body, "context", pointer) if "context" in body else {}
    # What the caller says under these names is its own business, until it sends properties.
    given = {name: value for name, value in properties.items() if value is not None}
    return {**context, **given}


def _semantic(body: Json) -> Semantic:
    if "options" not in body:
        return Semantic.EXECUTE_ALL
    options = _object(body, "options", "/options")
    wanted = options.get("evaluations_semantic", Semantic.EXECUTE_ALL.value)
    if wanted not in [one.value for one in Semantic]:
        raise _misshapen(
            "/options/evaluations_semantic",
            f"must be one of {', '.join(one.value for one in Semantic)}",
        )
    return Semantic(wanted)


def _page(body: Json) -> Page:
    if "page" not in body:
        return Page("", None)
    page = _object(body, "page", "/page")
    token, limit = page.get("token", ""), page.get("limit")
    if not isinstance(token, str) or len(token) > MAX_PAGE_TOKEN:
        raise _misshapen("/page/token", f"must be a string of at most {MAX_PAGE_TOKEN}")
    # True is an int to Python, and no number to JSON.
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 0):
        raise _misshapen("/page/limit", "must be a non-negative integer")
    return Page(token, limit if limit is None else min(limit, MAX_LIMIT))


def _object(body: Json, name: str, pointer: str) -> Json:
    if name not in body:
        raise _misshapen(pointer, "is required")
    value = body[name]
    if not isinstance(value, dict):
        raise _misshapen(pointer, "must be an object")
    return value


def _text(entity: Json, name: str, pointer: str) -> str:
    if name not in entity:
        raise _misshapen(f"{pointer}/{name}", "is required")
    value = entity[name]
    if not isinstance(value, str) or not value:
        raise _misshapen(f"{pointer}/{name}", "must be a string that is not empty")
    return value


def _properties(entity: Json, pointer: str) -> Json | None:
    if "properties" not in entity:
        return None
    return _object(entity, "properties", f"{pointer}/properties")


def _misshapen(pointer: str, wrong: str) -> Misshapen:
    return Misshapen(f"{pointer} {wrong}", reason="INVALID_FIELD", field=pointer)


def _unaskable(pointer: str, wrong: str) -> Unaskable:
    return Unaskable(f"{pointer} {wrong}", reason="INVALID_FIELD", field=pointer)
