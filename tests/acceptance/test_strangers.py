"""A stranger costs nothing that lasts, tried on the platform as people start it."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
from mail_folder import PATIENCE_S

Rows = Callable[..., list[dict[str, Any]]]
ASKED = {
    "subject": {"type": "user", "id": "alice"},
    "action": {"name": "read"},
    "resource": {"type": "project", "id": "alpha"},
}


async def test_a_strangers_bad_tokens_leave_no_rows_in_any_tenants_log(
    platform: Any, rows: Rows, argy: Any, people: dict[str, str]
) -> None:
    edge = platform.ready["edge"]
    acme = edge["tenant_id"]
    ids = [uuid4().hex for _ in range(60)]
    context = ssl.create_default_context(cafile=platform.endpoint.ca_file)
    async with httpx.AsyncClient(verify=context, base_url=edge["url"], timeout=30) as http:
        for number, request_id in enumerate(ids):
            answer = await http.post(
                "/access/v1/evaluation",
                json=ASKED,
                headers={
                    "authorization": "Bearer a.b.c",
                    # A tenant that there is, and one that there isn't.
                    "x-tenant-id": acme if number % 2 else str(uuid4()),
                    "x-request-id": request_id,
                },
            )
            assert answer.status_code in (401, 403), answer.text
    # What is refused to who proved to be somebody is told after all that came before it.
    done = await asyncio.to_thread(
        argy, "check", people["Bob"], "deploy", "project:alpha", "--tenant", "acme"
    )
    assert done.returncode == 1, done.stderr
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(
            rows, "audit", "tail", "--tenant", "acme", "--action", "authz.decision.check"
        ):
            pass
    for tenant in ("acme", "platform"):
        told = await asyncio.to_thread(
            rows, "audit", "tail", "-n", "1000", "--tenant", tenant, "--action", "rpc.call.refuse"
        )
        assert not {event.get("request_id") for event in told} & set(ids)
