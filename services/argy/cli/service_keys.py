"""``argy service-key``: the keys with which internal services sign their calls.

They act as an operator. ``argy keys`` is about the rings that all keys are derived from.
"""

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from argy.api.authn.v1 import credential_pb2 as pb
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.base.crypto import SecretFile
from argy.base.errors import FailedPrecondition, InvalidArgument, NotFound
from argy.cli import times
from argy.cli.options import Days, Id, Json, Scopes, Tenant
from argy.cli.output import Output
from argy.cli.session import every, run
from argy.cli.terminal import REQUIRED, Terminal, asking
from argy.client import Connection
from argy.client.keys import service_key_file

app = typer.Typer(help="Keys with which internal services sign their calls.", no_args_is_help=True)

_COLUMNS: Final = ("id", "service", "name", "prefix", "scopes", "expires", "last_used")

Service = Annotated[str, typer.Option("--service", help="The service, as it signs: billing.")]
Out = Annotated[Path, typer.Option("--out", help="File to write the key to; secret, mode 0600.")]


@app.command("create")
def create(
    service: Service,
    tenant: Tenant,
    scope: Scopes,
    out: Out,
    name: Annotated[str, typer.Option(help="What to call it.")] = "",
    days: Days = 90,
    json_output: Json = False,
) -> None:
    """Make a key and write it to a file, this once.

    It signs for its tenant only, or for every tenant with `--tenant platform`.
    For example: `argy service-key create --tenant acme --service billing
    --scope authz.decision:check --days 90 --out billing.json`.
    """
    with _opened(out) as file:

        async def work(connection: Connection, output: Output) -> None:
            made = await (await _stub(Terminal(connection, output, tenant))).CreateServiceKey(
                pb.CreateServiceKeyRequest(
                    service=service, name=name or service, scopes=scope, days=days
                )
            )
            _save(made, file, out, output)

        run(json_output, work)


@app.command("list")
@asking(tenant=REQUIRED)
async def list_(terminal: Terminal, service: Service) -> None:
    """List a service's live keys; never their secrets."""
    found = await _live(await _stub(terminal), service)
    terminal.output.rows([_row(one) for one in found], _COLUMNS)


@app.command("rotate")
def rotate(
    key_id: Id,
    service: Service,
    tenant: Tenant,
    out: Out,
    overlap_hours: Annotated[
        int, typer.Option(help="Hours that the old secret stays good, 0 to 168.")
    ] = 24,
    json_output: Json = False,
) -> None:
    """Make a key's next secret and write it to a file; the old one is good for the overlap."""
    with _opened(out) as file:

        async def work(connection: Connection, output: Output) -> None:
            stub = await _stub(Terminal(connection, output, tenant))
            if key_id not in {one.credential_id for one in await _live(stub, service)}:
                # Another credential's new secret would be told to nobody.
                raise NotFound(f"'{service}' has no live key {key_id}", field="id")
            made = await stub.RotateCredential(
                pb.RotateCredentialRequest(credential_id=key_id, overlap_hours=overlap_hours)
            )
            _save(made, file, out, output)

        run(json_output, work)


@app.command("revoke")
@asking(tenant=REQUIRED)
async def revoke(terminal: Terminal, key_id: Id) -> None:
    """End a key at once, with every secret of it."""
    stub = await _stub(terminal)
    await stub.RevokeCredential(pb.RevokeCredentialRequest(credential_id=key_id))
    terminal.output.result(
        {"id": key_id, "revoked": True}, lambda: f"{key_id} is refused from now on"
    )


async def _stub(terminal: Terminal) -> Any:
    return CredentialServiceStub(await terminal.channel())


async def _live(stub: Any, service: str) -> list[Any]:
    request = pb.ListCredentialsRequest(subject=f"service:{service}")
    return await every(stub.ListCredentials, request, "credentials")


def _opened(out: Path) -> SecretFile:
    """The file for a secret, before there is one that could be told to nobody."""
    if not out.parent.is_dir():
        raise InvalidArgument(f"{out.parent} is no folder", field="out")
    if out.is_dir():
        raise InvalidArgument(f"{out} is a folder: name a file in it", field="out")
    try:
        return SecretFile(out)
    except FailedPrecondition as error:
        raise InvalidArgument(error.message, reason=error.reason, field="out") from error


def _save(made: Any, file: SecretFile, out: Path, output: Output) -> None:
    row = _row(made.credential)
    content = service_key_file(service=row["service"], key_id=made.key_id, secret=made.secret)
    try:
        file.write(content)
    except FailedPrecondition as error:
        told = f"{error.message}, and nobody has the secret of key {row['id']}: revoke it"
        raise FailedPrecondition(told, reason=error.reason) from error
    output.result(
        {**row, "key_id": made.key_id, "file": str(out)},
        lambda: f"{out}: key {row['id']} of '{row['service']}', good until {row['expires']}",
    )


def _row(credential: Any) -> dict[str, str]:
    return {
        "id": credential.credential_id,
        "service": credential.subject.removeprefix("service:"),
        "name": credential.name,
        "prefix": credential.prefix,
        "scopes": " ".join(credential.scopes),
        "expires": times.shown(credential.expire_time),
        "last_used": times.shown(credential.last_used_time)
        if credential.HasField("last_used_time")
        else "",
    }
