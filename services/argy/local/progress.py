"""What ``argy up`` tells: its steps, what it showed, and how to go on; or one JSON document."""

import json
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.text import Text

from argy.base.foreign_text import on_terminal
from argy.client.connection import Endpoint
from argy.local.demo import ALICE, TENANT, Shown
from argy.local.edge import Edge


class Progress:
    """Tells a person what is being done; with JSON only the result is told."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._started = time.monotonic()
        self._console = Console(highlight=False, soft_wrap=True)

    def step(self, what: str) -> None:
        """One step begins."""
        if not self._quiet:
            elapsed = time.monotonic() - self._started
            self._console.print(Text(f"{elapsed:5.1f} s  {what}", style="dim"))

    def ready(self, endpoint: Endpoint, edge: Edge, shown: list[Shown], *, stays_up: bool) -> None:
        """What was shown, and the ready line."""
        elapsed = time.monotonic() - self._started
        if self._quiet:
            result = {
                "ready": True,
                "seconds": round(elapsed, 3),
                "endpoint": {"target": endpoint.target, "ca_file": endpoint.ca_file},
                "edge": {
                    "url": edge.url,
                    "ca_file": str(edge.ca_file),
                    "token_file": str(edge.token_file),
                    "tenant_id": str(shown[0].tenant_id),
                    "sign_in_url": edge.sign_in_url(TENANT),
                    "mailbox_url": edge.mailbox_url,
                },
                "checks": [_shown_json(one) for one in shown],
            }
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()
            return
        for one in shown:
            answer = one.answer
            style = "bold green" if answer.allowed else "bold red"
            line = Text.assemble(
                "\n", (f"{answer.effect:<5}", style), f"  {one.who}  {one.action} {one.resource}"
            )
            self._console.print(line)
            self._console.print(Text(f"  subject  {one.subject}"))
            self._console.print(Text(on_terminal(f"  because  {answer.reason}  {answer.rule}")))
            if answer.role_path:
                path = on_terminal(" → ".join(answer.role_path))
                self._console.print(Text(f"  path     {path}"))
            self._console.print(
                Text(
                    f"  record   {one.record.event_id}  {one.record.actor}  {one.record.action}"
                    f"  {one.record.record_time.ToJsonString()}"
                )
            )
        ready = (
            f"\nready in {elapsed:.1f} s: gRPC over TLS on {endpoint.target}, "
            f"AuthZEN over HTTPS on {edge.url}"
        )
        self._console.print(Text(ready, style="bold"))
        if stays_up:
            self._console.print(
                Text(
                    f"Sign in as {ALICE[0]}: {edge.sign_in_url(TENANT)}\n"
                    f"The mail with the link is on {edge.mailbox_url}"
                )
            )
            self._console.print(
                Text(
                    "Ask from another terminal: .venv/bin/argy check "
                    f"{ALICE[0]} deploy project:alpha --tenant acme"
                )
            )
            self._console.print(Text(f"Over HTTP:\n{_curl(edge, shown[0])}\nCtrl-C stops it."))


def _curl(edge: Edge, one: Shown) -> str:
    """The question that was shown, as a command that asks it over HTTP."""
    kind, _, name = one.subject.partition(":")
    resource_kind, _, resource_name = one.resource.partition(":")
    question = {
        "subject": {"type": kind, "id": name},
        "action": {"name": one.action},
        "resource": {"type": resource_kind, "id": resource_name},
    }
    return (
        f"curl --cacert {_shortest(edge.ca_file)} {edge.url}/access/v1/evaluation"
        f' -H "Authorization: Bearer $(cat {_shortest(edge.token_file)})"'
        f" -H 'X-Tenant-Id: {one.tenant_id}' -H 'Content-Type: application/json'"
        f" -d '{json.dumps(question)}'"
    )


def _shortest(path: Path) -> str:
    """The path as a shell's word, from here where it lies below."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def _shown_json(one: Shown) -> dict[str, object]:
    return {
        "who": one.who,
        "subject": one.subject,
        "action": one.action,
        "resource": one.resource,
        **asdict(one.answer),
        "event_id": one.record.event_id,
    }
