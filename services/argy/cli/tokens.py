"""``argy token`` and ``argy api-key``: long-lived credentials of a person, and of agents.

They act as who is signed in (``argy login``). ``argy keys`` is about other keys: the rings with
which services sign.
"""

from functools import partial
from typing import Annotated, Any, Final
from urllib.parse import quote, urlencode

import typer

from argy.base.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from argy.cli import acting
from argy.cli.edge_client import Answer
from argy.cli.options import Days, Id, Json, Scopes
from argy.cli.output import Output
from argy.cli.signed_in import Login

app = typer.Typer(
    help="Your personal access tokens, for scripts (see also: argy login).", no_args_is_help=True
)
keys = typer.Typer(help="API keys of agents.", no_args_is_help=True)

_COLUMNS: Final = ("id", "name", "prefix", "scopes", "expires_at", "last_used_at")

Name = Annotated[str, typer.Argument(help="What to call it.")]
Agent = Annotated[str, typer.Option("--agent", help="The agent's id.")]
Overlap = Annotated[int, typer.Option("--overlap", help="Hours that the old secret stays good.")]


@app.command("create")
def create_token(
    name: Name,
    scope: Scopes,
    days: Annotated[int, typer.Option(help="Days until it ends, 7 to 366.")] = 90,
    json_output: Json = False,
) -> None:
    """Make a personal access token; its secret is printed this once."""
    body = {"kind": "token", "name": name, "scopes": scope, "days": days}
    _make(body, json_output)


@app.command("list")
def list_tokens(json_output: Json = False) -> None:
    """List your live tokens; never their secrets."""
    _list("", json_output)


@app.command("rotate")
def rotate_token(token_id: Id, overlap: Overlap = 0, json_output: Json = False) -> None:
    """Make a new secret, which is printed this once."""
    _rotate(token_id, overlap, json_output)


@app.command("revoke")
def revoke_token(token_id: Id, json_output: Json = False) -> None:
    """End a token at once."""
    _revoke(token_id, json_output)


@keys.command("create")
def create_key(
    name: Name, agent: Agent, scope: Scopes, days: Days = 90, json_output: Json = False
) -> None:
    """Make an API key of an agent; its secret is printed this once."""
    body = {
        "kind": "key",
        "subject": f"agent:{agent}",
        "name": name,
        "scopes": scope,
        "days": days,
    }
    try:
        _make(body, json_output)
    except PermissionDenied as error:
        raise PermissionDenied(
            f"{error.message}: an administrator of the tenant makes keys of agents",
            reason=error.reason,
            metadata=error.metadata,
        ) from error


@keys.command("list")
def list_keys(agent: Agent, json_output: Json = False) -> None:
    """List an agent's live keys; never their secrets."""
    _list(f"agent:{agent}", json_output)


@keys.command("rotate")
def rotate_key(key_id: Id, overlap: Overlap = 24, json_output: Json = False) -> None:
    """Make a new secret, which is printed this once; the old one stays good for the overlap."""
    _rotate(key_id, overlap, json_output)


@keys.command("revoke")
def revoke_key(key_id: Id, json_output: Json = False) -> None:
    """End a key at once."""
    _revoke(key_id, json_output)


def _make(body: dict[str, Any], json_output: bool) -> None:
    _told_once(_posted("credentials", body), json_output)


def _rotate(credential_id: str, overlap: int, json_output: bool) -> None:
    path = f"{_path(credential_id)}/rotate"
    _told_once(_posted(path, {"overlap_hours": overlap}), json_output)


def _path(credential_id: str) -> str:
    if not credential_id.strip():
        raise InvalidArgument("the id is empty: take one from the list", field="id")
    return f"credentials/{quote(credential_id, safe='')}"


def _posted(path: str, body: dict[str, Any]) -> dict[str, Any]:
    return _checked(
        acting.ask(
            lambda held: held.client.post_json(held.path(path), body, token=held.access_token)
        )
    )


def _list(subject: str, json_output: bool) -> None:
    rows = [{**row, "scopes": " ".join(row["scopes"])} for row in _all(subject)]
    Output(as_json=json_output).rows(rows, _COLUMNS)


def _all(subject: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page_token = ""
    while True:
        path = "credentials?" + urlencode({"subject": subject, "page_token": page_token})
        page = _checked(acting.ask(partial(_got, path)))
        found += page["credentials"]
        page_token = page["next_page_token"]
        if not page_token:
            return found


def _got(path: str, held: Login) -> Answer:
    return held.client.get(held.path(path), token=held.access_token)


def _revoke(credential_id: str, json_output: bool) -> None:
    path = _path(credential_id)
    _checked(acting.ask(lambda held: held.client.delete(held.path(path), token=held.access_token)))
    Output(as_json=json_output).result(
        {"id": credential_id, "revoked": True},
        lambda: f"{credential_id} is refused from now on",
    )


def _told_once(made: dict[str, Any], json_output: bool) -> None:
    Output(as_json=json_output).result(made, lambda: str(made["secret"]))


def _checked(answer: Answer) -> dict[str, Any]:
    if answer.body.get("reason") == "STEP_UP_REQUIRED":
        raise FailedPrecondition(
            "your sign-in is too old for this: run `argy login` again, then repeat it",
            reason="STEP_UP_REQUIRED",
        )
    return answer.checked()
