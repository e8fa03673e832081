"""``argy keys``: make, rotate, retire and issue keys. Most work on files and ask nobody."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from argy.api.authn.v1.token_pb2 import RotateSigningKeyRequest
from argy.api.authn.v1.token_pb2_grpc import TokenServiceStub
from argy.base.crypto import KeyRing
from argy.base.dsse import SigningKeys, TrustedKeys
from argy.base.errors import AlreadyExists, InvalidArgument
from argy.base.ids import parse_uuid
from argy.cli.options import Json
from argy.cli.output import Output
from argy.cli.terminal import PLATFORM, Terminal, asking
from argy.client.keys import DESTINATIONS, issue_keys
from argy.client.pep_tokens import add_token, load_tokens, revoke_token

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

    Then: restart the servers, issue keys to every client again, rotate every
    service key, and retire the old key id.
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
    """Remove a root key that no longer signs: what it signed is refused from the next start on.

    Service keys that were derived from it end too: before, give each its next
    secret with `argy service-key rotate`, which derives from the key that signs.
    """
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


@app.command("edge-token")
def edge_token(
    file: Annotated[Path, typer.Option(help="The file of edge tokens; secret, mode 0600.")],
    source: Annotated[
        str, typer.Option(help="Make a token for this service; its permissions decide.")
    ] = "",
    tenant: Annotated[
        str, typer.Option(help="UUID of the tenant of requests that name none.")
    ] = "",
    revoke: Annotated[str, typer.Option(help="Id of a token to refuse from now on.")] = "",
    json_output: Json = False,
) -> None:
    """Make a bearer token for the HTTP edge, which prints it once; revoke one; or list them.

    Only its digest is kept. A running edge heeds the changed file at its next
    request. For example: `argy keys edge-token --file tokens.json --source billing`.
    """
    out = Output(as_json=json_output)
    if source and revoke:
        raise InvalidArgument("give --source or --revoke, not both", field="revoke")
    if source:
        token, entry = add_token(
            file,
            service=source,
            tenant_id=parse_uuid(tenant, field="tenant") if tenant else None,
            now=datetime.now(UTC),
        )
        out.result({"id": entry.token_id, "service": source, "token": token}, lambda: token)
    elif revoke:
        gone = revoke_token(file, revoke)
        out.result(
            {"id": gone.token_id, "service": gone.service, "revoked": True},
            lambda: f"{gone.token_id} of '{gone.service}' is refused from now on",
        )
    else:
        rows = [
            {"id": t.token_id, "service": t.service, "tenant": t.tenant_id, "created": t.created}
            for t in load_tokens(file).values()
        ]
        out.rows(rows, ("id", "service", "tenant", "created"))


@app.command("rotate-access")
@asking(tenant=PLATFORM)
async def rotate_access(
    terminal: Terminal,
    withdraw: Annotated[
        bool,
        typer.Option(
            "--withdraw", help="A key leaked: refuse everything that the keys so far signed."
        ),
    ] = False,
) -> None:
    """Make a new key for access tokens; asks the platform. It signs a minute and a half later.

    By then everybody who keeps a copy of the published keys has it. The one
    before it verifies until its last token has ended, some twelve minutes.

    With --withdraw the new key signs at once, and every access token of before is
    refused within a second; sessions and refresh tokens get another one.
    """
    stub = TokenServiceStub(await terminal.channel())
    made = await stub.RotateSigningKey(RotateSigningKeyRequest(withdraw=withdraw))
    signs = made.sign_time.ToDatetime(UTC).isoformat(timespec="seconds")
    gone = list(made.withdrawn_kids)
    told = f"{made.kid} is published, and signs from {signs} on"
    if gone:
        told += f"; refused from now on: {', '.join(gone)}"
    value = {"kid": made.kid, "signs_from": signs, "withdrawn": gone}
    terminal.output.result(value, lambda: told)


@app.command("policy-new")
def policy_new(
    file: Annotated[Path, typer.Argument(help="The key file; secret, mode 0600.")],
    key_id: Annotated[
        str, typer.Option(help="The key's id; taken from the key itself by default.")
    ] = "",
    json_output: Json = False,
) -> None:
    """Make an Ed25519 key that signs policies: an author's, or the control plane's."""
    if file.exists():
        raise AlreadyExists(f"{file} exists: choose another path")
    made = SigningKeys.generate()
    (public,) = made.public().keys.values()
    name = key_id or f"p{hashlib.sha256(public).hexdigest()[:12]}"
    KeyRing(name, {name: made.ring.keys[made.ring.signing]}).save(file)
    Output(as_json=json_output).result(
        {"file": str(file), "key_id": name}, lambda: f"{file}: key {name}"
    )


@app.command("policy-public")
def policy_public(
    file: Annotated[Path, typer.Argument(help="A key file, from `argy keys policy-new`.")],
    into: Annotated[
        Path | None, typer.Option("--into", help="Add to this file of trusted keys.")
    ] = None,
    owner: Annotated[
        str, typer.Option("--owner", help="Whose it is: user:<id>, or the address they sign in by.")
    ] = "",
    json_output: Json = False,
) -> None:
    """Print the public part of a policy key.

    Of an author's key, for ARGY_POLICY_TRUSTED_KEYS:
    `argy keys policy-public author.json --owner ada@example.com --into trusted.json`.
    Whose key signed a policy can't approve it. Services that decide in process
    (PolicyTrust) need it of the control plane's key too.
    """
    public = SigningKeys.load(file).public()
    if owner:
        public = TrustedKeys(public.keys, dict.fromkeys(public.keys, owner))
    if into is not None:
        public = (TrustedKeys.load(into) if into.exists() else TrustedKeys({})) | public
        into.write_text(json.dumps(public.to_json(), indent=1) + "\n")
    value = public.to_json()
    Output(as_json=json_output).result(value, lambda: json.dumps(value, indent=1))


def _next_id(ring: KeyRing) -> str:
    numbers = [int(key[1:]) for key in ring.keys if key[:1] == "k" and key[1:].isdigit()]
    return f"k{max(numbers, default=0) + 1}"


def _show(path: Path, ring: KeyRing, json_output: bool) -> None:
    value = {"file": str(path), "signing": ring.signing, "verifying": sorted(ring.keys)}
    Output(as_json=json_output).result(
        value, lambda: f"{path}: signs with {ring.signing}, accepts {', '.join(sorted(ring.keys))}"
    )
