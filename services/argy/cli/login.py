"""``argy login``, ``whoami`` and ``logout``: a person at a terminal, by device flow (RFC 8628)."""

import io
import json
import os
import time
import webbrowser
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from argy.api.authn.v1.credential_pb2 import VerifyCredentialRequest
from argy.api.authn.v1.credential_pb2_grpc import CredentialServiceStub
from argy.base.errors import (
    ArgyError,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from argy.cli import acting, signed_in
from argy.cli.edge_client import Answer, EdgeClient
from argy.cli.endpoints import EDGE_CA, EDGE_URL, edge_client, endpoint
from argy.cli.options import Json
from argy.cli.output import Output, printable
from argy.cli.session import find_tenant, run
from argy.cli.signed_in import CLIENT_ID, Login, Vault
from argy.client import Connection

GRANT_TYPE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_SLOWER_S: Final = 5
_SLOWEST_S: Final = 30

Edge = Annotated[str, typer.Option("--edge", envvar=EDGE_URL, help="https:// URL of the edge.")]
Ca = Annotated[str, typer.Option("--ca", envvar=EDGE_CA, help="CA file to trust for it.")]
LoginTenant = Annotated[
    str, typer.Option("--tenant", "-t", envvar="ARGY_TENANT", help="Tenant, by slug.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the program."""
    app.command("login")(login)
    app.command("whoami")(whoami)
    app.command("logout")(logout)


def login(
    tenant: LoginTenant = "acme",
    edge: Edge = "",
    ca: Ca = "",
    scope: Annotated[
        str, typer.Option(help="Permissions to be bound to, with spaces between; else all yours.")
    ] = "",
    browser: Annotated[bool, typer.Option("--browser", help="Open the page here.")] = False,
    json_output: Json = False,
) -> None:
    """Sign in: confirm a code in a browser, here or on another device."""
    out = Output(as_json=json_output)
    client = edge_client(edge, ca)
    folder, vault = signed_in.config_folder(), signed_in.system_vault()
    signed_in.check_place(folder)
    fields = {"client_id": CLIENT_ID, **({"scope": scope} if scope else {})}
    begun = client.post_form(f"/{tenant}/oauth/device_authorization", fields).checked()
    _show(out, begun, as_json=json_output)
    if browser and str(begun["verification_uri_complete"]).startswith(f"{client.url}/"):
        webbrowser.open(str(begun["verification_uri_complete"]))
    answer = _wait(client, tenant, begun)
    made = Login(
        edge=client.url,
        ca_file=client.ca_file,
        tenant=tenant,
        access_token="",
        refresh_token="",
        expires_at=0.0,
        scope="",
    ).refreshed(answer)
    with signed_in.locked(folder):
        before = _held_before(folder, vault)
        signed_in.save(made, folder, vault)
        left = "" if before is None else _end_before(before, made, vault)
    if left:
        typer.echo(printable(left), err=True)
    try:
        told = _whoami(made).checked()
    except ArgyError as error:
        # The tokens are kept: who they are of can be asked later.
        told = {"subject": "somebody", "tenant": tenant}
        out.note({"whoami": error.message})
    out.result({"signed_in": True, **told}, lambda: f"signed in to {tenant} as {_called(told)}")


def whoami(
    tenant: Annotated[
        str,
        typer.Option("--tenant", "-t", envvar=acting.TENANT, help="Of a token that is personal."),
    ] = "",
    json_output: Json = False,
) -> None:
    """Tell who acts here: who is signed in, or whose ARGY_TOKEN is, as the platform knows them."""
    out = Output(as_json=json_output)
    person = acting.acting(anywhere=True)
    if person is not None and person.tenant_id is None:
        run(json_output, lambda connection, output: _tell_owner(connection, output, tenant))
    elif person is None and acting.as_service():
        subject = f"service:{endpoint().source}"
        out.result({"subject": subject}, lambda: f"{subject}, by {acting.AS_SERVICE}")
    elif person is None:
        raise signed_in.not_signed_in(_nobody())
    else:
        told = acting.ask(_whoami).checked()
        out.result(told, lambda: _described(told))


def _nobody() -> str:
    message = "you are not signed in: run `argy login`"
    try:
        return f"{message}; until then service:{endpoint().source} acts"
    except ArgyError:
        return message


async def _tell_owner(connection: Connection, output: Output, tenant: str) -> None:
    """Whose personal access token acts, which only the platform can say."""
    tenant_id = await find_tenant(connection, tenant)
    stub: Any = CredentialServiceStub(connection.own_channel(tenant_id))
    asked = VerifyCredentialRequest(secret=os.environ[acting.TOKEN].strip())
    found = (await stub.VerifyCredential(asked)).credential
    scopes = " ".join(found.scopes)
    told = {"subject": found.subject, "tenant": tenant, "scope": scopes}
    output.result(told, lambda: f"{found.subject} in {tenant}, for {scopes}")


def logout(json_output: Json = False) -> None:
    """Sign out: end the tokens at the platform, and forget them here."""
    folder, vault = signed_in.config_folder(), signed_in.system_vault()
    with signed_in.locked(folder):
        # Nobody saves other tokens meanwhile: these are the last ones.
        try:
            held = signed_in.load(folder, vault)
        except Unauthenticated:
            # What the platform ended leaves nothing to end there.
            if not signed_in.remove(folder):
                raise
            Output(as_json=json_output).result({"signed_in": False}, lambda: "signed out")
            return
        try:
            signed_in.end(held)
        finally:
            signed_in.forget(held, folder, vault)
    Output(as_json=json_output).result(
        {"signed_in": False, "tenant": held.tenant}, lambda: f"signed out of {held.tenant}"
    )


def _held_before(folder: Path, vault: Vault | None) -> Login | ArgyError | None:
    """The login that a new one replaces, or why it can't be read; None when there is none."""
    try:
        return signed_in.load(folder, vault)
    except Unauthenticated:
        return None
    except ArgyError as error:
        return error


def _end_before(before: Login | ArgyError, made: Login, vault: Vault | None) -> str:
    """End a replaced login at its platform; what a person must know when that failed."""
    try:
        if isinstance(before, ArgyError):
            raise before
        signed_in.forget_secrets(before, vault, unless=made)
        signed_in.end(before)
    except ArgyError as error:
        return (
            "the login before could not be ended at the platform, where it may last for a month"
            f" (`argy session list` has it): {error.message}"
        )
    return ""


def _show(out: Output, begun: dict[str, Any], *, as_json: bool) -> None:
    shown = ("user_code", "verification_uri", "verification_uri_complete", "expires_in")
    if as_json:
        # Somebody must act on this while the command waits, so it can't wait for its end.
        typer.echo(json.dumps({name: begun[name] for name in shown}))
        return
    # Slow to import, and no other command draws.
    import segno

    picture = io.StringIO()
    segno.make(str(begun["verification_uri_complete"]), error="l").terminal(picture, compact=True)
    typer.echo(picture.getvalue())
    typer.echo(printable(f"Go to {begun['verification_uri']} and enter the code"))
    typer.echo(printable(f"\n    {begun['user_code']}\n"))
    typer.echo(f"It is good for {int(begun['expires_in']) // 60} minutes. Waiting …")


def _wait(client: EdgeClient, tenant: str, begun: dict[str, Any]) -> dict[str, Any]:
    """Poll until somebody decides (RFC 8628 §3.5), through whatever passes meanwhile."""
    interval_s, ends_s = float(begun.get("interval", 5)), time.monotonic() + begun["expires_in"]
    fields = {
        "grant_type": GRANT_TYPE,
        "device_code": str(begun["device_code"]),
        "client_id": CLIENT_ID,
    }
    failed = ""
    while time.monotonic() + interval_s < ends_s:
        time.sleep(interval_s)
        try:
            answer = client.post_form(f"/{tenant}/oauth/token", fields)
        except Unavailable as error:
            if error.reason == "EDGE_UNTRUSTED":
                raise
            # §3.5: after a time-out, ask less often.
            failed, interval_s = error.message, min(2 * interval_s, _SLOWEST_S)
            continue
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= 500:
            failed = f"the edge answered {answer.status}"
            interval_s = min(2 * interval_s, _SLOWEST_S)
        elif answer.oauth_error == "slow_down":
            failed, interval_s = "", interval_s + _SLOWER_S
        elif answer.oauth_error == "access_denied":
            raise PermissionDenied("the request was refused", reason="LOGIN_DENIED")
        elif answer.oauth_error == "expired_token":
            break
        elif answer.oauth_error == "authorization_pending":
            failed = ""
        else:
            return answer.checked()
    if failed:
        # A code is good once: perhaps it was confirmed, and the tokens were lost on their way.
        raise Unavailable(
            f"no tokens came ({failed}): run `argy login` again; if the code was confirmed, "
            "`argy session list` then shows what to end",
            reason="LOGIN_LOST",
        )
    raise Unauthenticated("nobody confirmed the code in time", reason="LOGIN_EXPIRED")


def _whoami(held: Login) -> Answer:
    return held.client.get(held.path("whoami"), token=held.access_token)


def _described(told: dict[str, Any]) -> str:
    """Who is signed in, and what happened until they say that it was them."""
    who = f"{_called(told)} in {told['tenant']} ({told['subject']})"
    notices = told.get("notices") or []
    if not notices:
        return who
    asked = "Was this you? Say so, or sign out everywhere, on the page Security in a browser:"
    lines = [f"  {one['at']}  {' '.join((one['text'], one['from'])).strip()}" for one in notices]
    return "\n".join([who, "", asked, *lines])


def _called(told: dict[str, Any]) -> str:
    return str(told.get("email") or told["subject"])
