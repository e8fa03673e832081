"""Asks again, while a stream lasts, what the chain asked when it began: whose it is, and whether.

A stream lives for up to an hour; the key or the token that began it may be revoked, run out, or
lose its person meanwhile. Each second it is held to what a new call would be: its tenant, the
service key that signed it, the credential that came along. That its caller still holds the
permission is asked by the handlers, which know when roles change.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from argy.rpc.call import Call
from argy.rpc.caller import brings_credential, end_caller
from argy.rpc.stages import Dependencies

READMIT_S: Final = 1.0
"""How soon a stream ends after what began it did."""


async def readmit(deps: Dependencies, call: Call) -> None:
    """Hold a call that lasts to what a new one of its caller's would be held to.

    Raises:
        Unauthenticated, PermissionDenied, NotFound: as the chain's stages do.
        Unavailable: when nobody can say whether it is good; never a yes.
    """
    known = deps.tenants.peek(call.tenant_id, call.org_id)
    call.tenant = known or await deps.tenants.resolve(call.tenant_id, call.org_id)
    if call.service_key is not None and deps.service_keys is not None:
        scopes = deps.service_keys.admit(call.service_key, call.source)
        if not isinstance(scopes, frozenset):
            await scopes
    if brings_credential(call):
        waiting = end_caller(call, deps.tokens, deps.credentials)
        if waiting is not None:
            await waiting


async def while_good(
    responses: AsyncGenerator[Any, None], deps: Dependencies, call: Call
) -> AsyncGenerator[Any, None]:
    """What a handler streams, for as long as its call stays good; silent streams end too.

    Raises as ``readmit``, and whatever the handler does.
    """
    loop = asyncio.get_running_loop()
    due_s = loop.time() + READMIT_S
    coming: asyncio.Future[Any] | None = None
    try:
        while True:
            if coming is None:
                coming = asyncio.ensure_future(anext(responses))
            await asyncio.wait((coming,), timeout=max(0.0, due_s - loop.time()))
            if loop.time() >= due_s:
                await readmit(deps, call)
                due_s = loop.time() + READMIT_S
            if coming.done():
                try:
                    response = coming.result()
                except StopAsyncIteration:
                    return
                finally:
                    coming = None
                yield response
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await responses.aclose()
