"""Writes the keys with which a service signs its calls."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import argy.api
from argy.base.crypto import KeyRing, write_secret
from argy.base.errors import InvalidArgument
from argy.rpc.client_keys import ServiceKey
from argy.rpc.pair_keys import RootKeys

DESTINATIONS: Final = tuple(
    sorted(
        {one.parts[-2] for root in argy.api.__path__ for one in Path(root).glob("*/v1")}
        - {"common"}
    )
)
"""The services that a client may call: those that have a contract."""


def issue_keys(ring: Path, *, source: str, destinations: Sequence[str], out: Path) -> None:
    """Write the pair keys of ``source`` to ``out``, mode 0600, under every live key id.

    Issue them again after a rotation, before the old key id is retired.

    Raises:
        InvalidArgument: for a destination that is no service, or a malformed source.
        FailedPrecondition: when the ring can't be read.
    """
    unknown = [name for name in destinations if name not in DESTINATIONS]
    if unknown or not destinations:
        raise InvalidArgument(
            f"destinations are {', '.join(DESTINATIONS)}; not {', '.join(unknown) or 'none'}",
            field="destination",
        )
    if not (source.isascii() and source.replace("-", "").isalnum() and source.islower()):
        raise InvalidArgument("a source is lower-case letters, digits and hyphens", field="source")
    issued = RootKeys(KeyRing.load(ring)).issue(source, destinations)
    write_secret(out, _content(issued.to_json()))


def service_key_file(*, service: str, key_id: str, secret: str) -> bytes:
    """The file of a service key: what ``Connection`` signs with.

    Raises:
        InvalidArgument: when a part is malformed.
    """
    return _content(ServiceKey(source=service, key_id=key_id, secret=secret).to_json())


def _content(value: dict[str, object]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()
