"""``argy keys``: make, rotate, retire and issue signing keys. Works on files, asks nobody."""

from pathlib import Path
from typing import Annotated, Any

import typer

from argy.base.crypto import KeyRing
from argy.base.errors import AlreadyExists
from argy.cli.output import Output
from argy.cli.session import Json
from argy.client.keys import DESTINATIONS, issue_keys

app = typer.Typer(help="Make, rotate, retire and issue signing keys.", no_args_is_help=True)

Ring = Annotated[Path, typer.Argument(help="The key ring file; secret, mode 0600.")]


@app.command("new")
def new(ring: Ring, json_output: Json = False) -> None:
    """Make a key ring with one fresh root key."""
    if ring.exists():
        raise AlreadyExists(f"{ring} exists: rotate it, or choose another path")
    made = KeyRing.generate()
    made.save(ring)
    _show(ring, made, json_output)


@app.command("show")
def show(ring: Ring, json_output: Json = False) -> None:
    """List the key ids of a ring; never the keys."""
    _show(ring, KeyRing.load(ring), json_output)


@app.command("rotate")
def rotate(
    ring: Ring,
    key_id: Annotated[
        str, typer.Option(help="Id of the new key; the next number by default.")
    ] = "",
    json_output: Json = False,
) -> None:
    """Add a fresh root key that signs from now on; the others still verify.

    Then: restart the servers, issue keys to every client again, and retire the old key id.
    """
    old = KeyRing.load(ring)
    rotated = old.rotated(key_id or _next_id(old))
    rotated.save(ring)
    _show(ring, rotated, json_output)


@app.command("retire")
def retire(
    ring: Ring,
    key_id: Annotated[str, typer.Argument(help="The id to stop accepting.")],
    json_output: Json = False,
) -> None:
    """Remove a root key that no longer signs: what it signed is refused from the next start on."""
    rest = KeyRing.load(ring).retired(key_id)
    rest.save(ring)
    _show(ring, rest, json_output)


@app.command("issue")
def issue(
    ring: Ring,
    source: Annotated[str, typer.Option(help="The service that will sign with them.")],
    out: Annotated[Path, typer.Option(help="File to write; secret, mode 0600.")],
    destination: Annotated[
        list[str] | None, typer.Option("--to", help="A service it may call; all by default.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Write the keys with which a service signs its calls; it never sees the root."""
    destinations = tuple(destination or DESTINATIONS)
    issue_keys(ring, source=source, destinations=destinations, out=out)
    value: dict[str, Any] = {"source": source, "to": list(destinations), "file": str(out)}
    Output(as_json=json_output).result(
        value, lambda: f"{out}: keys of '{source}' to call {', '.join(destinations)}"
    )


def _next_id(ring: KeyRing) -> str:
    numbers = [int(key[1:]) for key in ring.keys if key[:1] == "k" and key[1:].isdigit()]
    return f"k{max(numbers, default=0) + 1}"


def _show(path: Path, ring: KeyRing, json_output: bool) -> None:
    value = {"file": str(path), "signing": ring.signing, "verifying": sorted(ring.keys)}
    Output(as_json=json_output).result(
        value, lambda: f"{path}: signs with {ring.signing}, accepts {', '.join(sorted(ring.keys))}"
    )
