"""What each service may do in Redis: one ACL user a service, all from one table.

Keys are of a kind, the part after their tenant; a service reaches the kinds that it uses, each by
the commands that it uses on them, in every tenant that it serves. Nobody may call what names keys
(SCAN, KEYS, RANDOMKEY, DBSIZE: key patterns don't bound these), what empties, configures or
watches the server, or a script that does so: a script's commands are its caller's.

https://valkey.io/topics/acl/: what stands in parentheses is a selector, whose commands and keys
count together and apart from the other selectors'.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

TENANT: Final = "t:{*}:"
"""A key's beginning, as ``argy.store.redis.key`` makes it."""
_ALWAYS: Final = ("ping", "select", "info", "client|setinfo")
"""Of a connection; INFO tells whether keys may be evicted, and which run of Redis this is."""
_IN_CLUSTER: Final = ("cluster|slots", "cluster|shards", "command")
"""By which a client finds the node of a key."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """Kinds of keys that are used together, and by which commands."""

    kinds: tuple[str, ...]
    """What follows the tenant in a key; ``*`` stands for the parts after the kind."""
    commands: str
    """With spaces between."""
    access: Literal["~", "%R~", "%W~"] = "~"
    """Whether the keys are read and written, only read, or only written."""

    @property
    def selector(self) -> str:
        """As ``ACL SETUSER`` takes it."""
        commands = (f"+{command}" for command in self.commands.split())
        keys = (f"{self.access}{TENANT}{kind}" for kind in self.kinds)
        return f"({' '.join((*commands, *keys))})"


NONCES: Final = Purpose(("nonce:*",), "sadd expireat", "%W~")
RUN: Final = Purpose((), "eval_ro")
"""A script without keys: INFO, of which only one line is wanted."""
ENDED_TOKENS: Final = Purpose(("revoked-state", "revoked"), "eval_ro hmget zrange", "%R~")
SERVER: Final = (NONCES, RUN, ENDED_TOKENS)
"""What every server asks about the calls that come to it."""


def user(service: str) -> str:
    """The name of a service's user."""
    return f"argy_{service}"


def rules(uses: Sequence[Purpose], *, cluster: bool = False) -> str:
    """The rules of a service's user for ``ACL SETUSER``, without its password."""
    commands = (f"+{command}" for command in (*_ALWAYS, *(_IN_CLUSTER if cluster else ())))
    selectors = (purpose.selector for purpose in uses)
    return " ".join(("resetchannels", "-@all", *commands, *selectors))
