"""``argy session``: where one is signed in; ``argy user invite|reset-sign-in|…``: who may be."""

from typing import Annotated, Any, Final
from urllib.parse import quote

import typer

from argy.api.authn.v1.magic_link_pb2 import InviteUserRequest
from argy.api.authn.v1.magic_link_pb2_grpc import MagicLinkServiceStub
from argy.api.authn.v1.session_pb2 import EndUserSessionsRequest, ResetSignInRequest
from argy.api.authn.v1.session_pb2_grpc import SessionServiceStub
from argy.api.directory.v1.user_pb2 import (
    USER_STATE_ACTIVE,
    USER_STATE_DISABLED,
    SetUserStateRequest,
    UserState,
)
from argy.api.directory.v1.user_pb2_grpc import UserServiceStub
from argy.base.errors import InvalidArgument
from argy.cli import acting, times
from argy.cli.directory import user_app
from argy.cli.options import Json, Reason, User, Yes
from argy.cli.output import Output
from argy.cli.terminal import REQUIRED, Terminal, asking

app = typer.Typer(help="Where you are signed in (see also: argy login).", no_args_is_help=True)

_COLUMNS: Final = ("id", "methods", "ip", "last_seen_at", "expires_at", "current", "user_agent")


def register(root: typer.Typer) -> None:
    """Add the commands to ``root``, and those about signing in to those of users."""
    root.add_typer(app, name="session")
    for command in (invite, disable, enable):
        user_app.command(command.__name__)(command)
    user_app.command("reset-sign-in")(reset_sign_in)


@app.command("list")
def list_(json_output: Json = False) -> None:
    """List your sessions, newest first."""
    answer = acting.ask(
        lambda held: held.client.get(held.path("sessions"), token=held.access_token)
    ).checked()
    rows = [{**row, "methods": " ".join(row["methods"])} for row in answer["sessions"]]
    Output(as_json=json_output).rows(rows, _COLUMNS)


@app.command()
def end(
    session_id: Annotated[str, typer.Argument(metavar="[ID]", help="From the list.")] = "",
    others: Annotated[bool, typer.Option("--others", help="All but this one.")] = False,
    json_output: Json = False,
) -> None:
    """End one of your sessions, with its tokens; or all others."""
    if bool(session_id) == others:
        raise InvalidArgument("name a session, or say --others", field="session_id")
    path = "sessions?keep_current=true" if others else f"sessions/{quote(session_id, safe='')}"
    answer = acting.ask(
        lambda held: held.client.delete(held.path(path), token=held.access_token)
    ).checked()
    ended = int(answer["ended"]) if others else 1
    _told(Output(as_json=json_output), ended)


@app.command("end-user")
@asking(tenant=REQUIRED)
async def end_user(terminal: Terminal, user: User) -> None:
    """End every session of a user, as an operator."""
    subjects = await terminal.subjects()
    stub = SessionServiceStub(await terminal.channel())
    user_id = await subjects.find_user(user)
    done = await stub.EndUserSessions(EndUserSessionsRequest(user_id=user_id))
    _told(terminal.output, done.ended)


@asking(tenant=REQUIRED)
async def invite(terminal: Terminal, user: User) -> None:
    """Mail a user the link to register a first passkey; it is good for a week."""
    subjects = await terminal.subjects()
    user_id = await subjects.find_user(user)
    stub = MagicLinkServiceStub(await terminal.channel())
    sent = await stub.InviteUser(InviteUserRequest(user_id=user_id))
    until = times.shown(sent.expire_time)
    terminal.output.result(
        {"user_id": user_id, "expires": until},
        lambda: f"invited {user}; the link in the mail is good until {until}",
    )


def _confirm(*, user: str, yes: bool, **_: object) -> None:
    if not yes:
        typer.confirm(f"Take every passkey, token and session from {user}?", abort=True)


@asking(tenant=REQUIRED, first=_confirm)
async def reset_sign_in(
    terminal: Terminal,
    user: User,
    reason: Reason,
    yes: Yes = False,
    without_link: Annotated[
        bool, typer.Option("--without-link", help="Go on where links are off: nobody is invited.")
    ] = False,
) -> None:
    """Take every way in away from a user, and mail them an invitation to begin anew.

    Passkeys, personal access tokens, links, devices and sessions end at once. For example:
    `argy user reset-sign-in dana@acme.example --tenant acme -m "lost laptop"`.
    """
    subjects = await terminal.subjects()
    user_id = await subjects.find_user(user)
    stub = SessionServiceStub(await terminal.channel())
    request = ResetSignInRequest(user_id=user_id, reason=reason, allow_without_link=without_link)
    done = await stub.ResetSignIn(request)
    invited = done.HasField("invitation_expire_time")
    until = times.shown(done.invitation_expire_time) if invited else ""
    told = {
        "user_id": user_id,
        "passkeys": done.passkeys,
        "tokens": done.tokens,
        "sessions": done.sessions,
        "invitation_expires": until,
        "kept_keys": [
            {"id": one.credential_id, "subject": one.subject, "name": one.name}
            for one in done.kept_keys
        ],
    }
    terminal.output.result(told, lambda: _reset_told(user, terminal.tenant_name, told))


@asking(tenant=REQUIRED)
async def disable(terminal: Terminal, user: User, reason: Reason) -> None:
    """Refuse a user from now on, and end their sessions and tokens."""
    await _set_state(terminal, user, USER_STATE_DISABLED, reason)


@asking(tenant=REQUIRED)
async def enable(terminal: Terminal, user: User, reason: Reason) -> None:
    """Let a disabled user sign in again."""
    await _set_state(terminal, user, USER_STATE_ACTIVE, reason)


async def _set_state(
    terminal: Terminal, user: str, state: UserState.ValueType, reason: str
) -> None:
    user_id = await (await terminal.subjects()).find_user(user)
    request = SetUserStateRequest(user_id=user_id, state=state, reason=reason)
    changed = (await UserServiceStub(await terminal.channel()).SetUserState(request)).user
    name = UserState.Name(changed.state).removeprefix("USER_STATE_")
    terminal.output.result(
        {"user_id": user_id, "state": name}, lambda: f"{changed.email} is {name} from now on"
    )


def _reset_told(user: str, tenant: str, told: dict[str, Any]) -> str:
    until = told["invitation_expires"]
    invited = f"the link in the mail is good until {until}" if until else "no: links are off"
    lines = [
        f"reset the sign-in of {user}",
        f"  passkeys   {told['passkeys']} removed",
        f"  tokens     {told['tokens']} revoked",
        f"  sessions   {told['sessions']} ended",
        f"  invited    {invited}",
    ]
    if told["kept_keys"]:
        lines.append("keys that they made go on; revoke those that may be in wrong hands:")
    for one in told["kept_keys"]:
        command = f"api-key revoke {one['id']}"
        if one["subject"].startswith("service:"):
            command = f"service-key revoke {one['id']} --tenant {tenant}"
        lines.append(f"  argy {command}   # {one['subject']} {one['name']}")
    return "\n".join(lines)


def _told(output: Output, ended: int) -> None:
    sessions = "1 session" if ended == 1 else f"{ended} sessions"
    output.result({"ended": ended}, lambda: f"ended {sessions}")
