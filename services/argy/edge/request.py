"""What is known about the request that is being served; each stage adds its part."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_KEY: Final = "argy"


@dataclass(slots=True)
class RequestState:
    """One request. A field is meaningful once its stage has run."""

    request_id: str = ""
    """As the caller gave it, cut for the log, or made here."""
    service: str = ""
    """Which service the caller's token speaks for."""
    tenant_id: UUID | None = None
    """The token's own tenant, for requests that name none."""
    client_ip: str = ""
    """The client's address, beyond our own proxies."""
    let_in: bool = False
    """Whether a credential or a session of the request's was found good."""
    started: bool = False
    """Whether the answer has begun."""


def state_of(scope: Scope) -> RequestState:
    """The state of a request; made on first use."""
    state = scope.get(_KEY)
    if not isinstance(state, RequestState):
        state = RequestState()
        scope[_KEY] = state
    return state


def header_values(scope: Scope, name: bytes) -> list[bytes]:
    """Every value of a header; ``name`` in lower case."""
    return [value for key, value in scope["headers"] if key == name]
