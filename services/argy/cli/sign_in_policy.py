"""``argy sign-in-policy``: how people of a tenant sign in."""

import re
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import typer
from cryptography import x509

from argy.api.authn.v1 import sign_in_policy_pb2 as pb
from argy.api.authn.v1.sign_in_policy_pb2_grpc import SignInPolicyServiceStub
from argy.base.errors import Aborted, ArgyError, FailedPrecondition, InvalidArgument
from argy.cli.output import Output
from argy.cli.terminal import Terminal, asking

app = typer.Typer(help="How people of a tenant sign in.", no_args_is_help=True)

ANY: Final = "any"
NONE: Final = "none"
_LINKS: Final = {"on": pb.LINKS_ON, "off": pb.LINKS_OFF}
_ATTESTATION: Final = {
    "none": pb.PASSKEY_ATTESTATION_NONE,
    "required": pb.PASSKEY_ATTESTATION_REQUIRED,
}
_LINKS_TOLD: Final = {value: word for word, value in _LINKS.items()}
_ATTESTATION_TOLD: Final = {value: word for word, value in _ATTESTATION.items()}
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.S)


@app.command()
@asking()
async def show(terminal: Terminal) -> None:
    """Show the policy, and whom it leaves out."""
    stub = await _stub(terminal)
    _show(terminal.output, await stub.GetSignInPolicy(pb.GetSignInPolicyRequest()))


@app.command("set")
@asking()
async def set_(
    terminal: Terminal,
    links: Annotated[str, typer.Option(help="Links by mail: on or off.")] = "",
    aaguid: Annotated[
        list[str] | None,
        typer.Option(help="A model that may be registered; repeatable, replaces all; or any."),
    ] = None,
    attestation: Annotated[
        str, typer.Option(help="Whether new passkeys prove their model: none or required.")
    ] = "",
    root: Annotated[
        list[str] | None,
        typer.Option(help="PEM file of who vouches for models; repeatable, replaces all; or none."),
    ] = None,
    idle: Annotated[
        int | None, typer.Option(help="Minutes that a session may rest; 0 for the platform's.")
    ] = None,
    longest: Annotated[
        int | None,
        typer.Option("--max", help="Minutes that a session lasts; 0 for the platform's."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Turn links off though people have no passkey.")
    ] = False,
) -> None:
    """Change what is named, and leave the rest as it is.

    For example: `argy sign-in-policy set --links off --idle 30 --tenant acme`.
    Passkeys that exist stay, whatever their model: `show` counts them.
    """
    changes = {
        "links": _word("links", links, _LINKS),
        "passkey_attestation": _word("attestation", attestation, _ATTESTATION),
        "passkey_aaguids": None if aaguid is None else _models(aaguid),
        "passkey_attestation_roots": None if root is None else _roots(root),
        "session_idle_minutes": idle,
        "session_max_minutes": longest,
    }
    wanted = {field: value for field, value in changes.items() if value is not None}
    if not wanted:
        raise InvalidArgument("say what to change: `argy sign-in-policy set --help`", field="links")
    stub = await _stub(terminal)
    held = await stub.GetSignInPolicy(pb.GetSignInPolicyRequest())
    _confirm(held, wanted, yes=yes)
    try:
        made = await stub.UpdateSignInPolicy(
            pb.UpdateSignInPolicyRequest(policy=_changed(held.policy, wanted), etag=held.etag)
        )
    except ArgyError as error:
        raise _with_advice(error) from error
    _show(terminal.output, made)


def _confirm(held: pb.GetSignInPolicyResponse, wanted: dict[str, Any], *, yes: bool) -> None:
    """Hold whoever turns links off to knowing who can't sign in then."""
    left_out = held.standing.users_without_passkey
    turned_off = wanted.get("links") == pb.LINKS_OFF and held.policy.links != pb.LINKS_OFF
    if turned_off and left_out and not yes:
        raise FailedPrecondition(
            f"{left_out} active people have no passkey and could not sign in any more: ask them to "
            "register one, or repeat this with --yes",
            reason="PEOPLE_WITHOUT_PASSKEY",
            metadata={"users_without_passkey": str(left_out)},
        )


def _changed(held: pb.SignInPolicy, wanted: dict[str, Any]) -> pb.SignInPolicy:
    kept: dict[str, Any] = {
        field.name: getattr(held, field.name) for field in pb.SignInPolicy.DESCRIPTOR.fields
    }
    return pb.SignInPolicy(**{**kept, **wanted})


def _with_advice(error: ArgyError) -> ArgyError:
    """An error with what to do about it, where the command can tell."""
    if error.reason == "ETAG_MISMATCH":
        return Aborted(
            "somebody else changed the policy meanwhile: look at it with `argy sign-in-policy "
            "show`, then repeat this",
            reason=error.reason,
        )
    return error


def _word(option: str, word: str, known: dict[str, Any]) -> Any:
    if word and word not in known:
        raise InvalidArgument(f"--{option} is {' or '.join(known)}", field=option)
    return known[word] if word else None


def _models(texts: list[str]) -> list[str]:
    if texts == [ANY]:
        return []
    try:
        return sorted({str(UUID(text)) for text in texts})
    except ValueError as error:
        raise InvalidArgument(
            f"--aaguid is the UUID of a model, once or more, or `{ANY}` alone", field="aaguid"
        ) from error


def _roots(files: list[str]) -> list[str]:
    if files == [NONE]:
        return []
    found = []
    for name in files:
        try:
            text = Path(name).read_text("ascii")
        except (OSError, ValueError) as error:
            raise InvalidArgument(f"--root {name} can't be read: {error}", field="root") from error
        certificates = _PEM.findall(text)
        if not certificates:
            raise InvalidArgument(f"--root {name} has no certificate in PEM", field="root")
        found += certificates
    return found


def _show(output: Output, found: Any) -> None:
    policy, standing = found.policy, found.standing
    value = {
        "links": _LINKS_TOLD[policy.links],
        "passkey_aaguids": list(policy.passkey_aaguids),
        "passkey_attestation": _ATTESTATION_TOLD[policy.passkey_attestation],
        "passkey_attestation_roots": [_subject(root) for root in policy.passkey_attestation_roots],
        "session_idle_minutes": policy.session_idle_minutes,
        "session_max_minutes": policy.session_max_minutes,
        "users_without_passkey": standing.users_without_passkey,
        "passkeys_outside_policy": standing.passkeys_outside_policy,
        "etag": found.etag,
    }
    output.result(value, lambda: _text(value))


def _text(value: dict[str, Any]) -> str:
    idle, longest = value["session_idle_minutes"], value["session_max_minutes"]
    lines = [
        f"links by mail     {value['links']}",
        f"models            {', '.join(value['passkey_aaguids']) or ANY}",
        f"attestation       {value['passkey_attestation']}",
        *(f"  vouches         {name}" for name in value["passkey_attestation_roots"]),
        f"sessions rest     {_minutes(idle)}",
        f"sessions last     {_minutes(longest)}",
        f"without passkey   {value['users_without_passkey']} active people",
        f"outside policy    {value['passkeys_outside_policy']} passkeys, which still sign in",
    ]
    return "\n".join(lines)


def _minutes(number: int) -> str:
    return f"{number} minutes" if number else "as long as the platform's"


def _subject(pem: str) -> str:
    return x509.load_pem_x509_certificate(pem.encode()).subject.rfc4514_string()


async def _stub(terminal: Terminal) -> Any:
    return SignInPolicyServiceStub(await terminal.channel())
