"""``argy policy bundle`` and ``verify``: a policy as one signed file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from argy.cli.options import DEFAULT_FOLDER, Folder, Json, Revision
from argy.cli.output import Output

if TYPE_CHECKING:
    from argy.policy.bundle import Bundle

Key = Annotated[Path, typer.Option("--key", help="Your signing key, from `argy keys policy-new`.")]
Since = Annotated[
    str,
    typer.Option("--since", help="Whoever wrote commits after this one is told as an author."),
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("bundle")(bundle)
    app.command("verify")(verify)


def bundle(
    key: Key,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    revision: Revision = "",
    since: Since = "",
    folder: Folder = DEFAULT_FOLDER,
    json_output: Json = False,
) -> None:
    """Write a signed bundle of the policy; the same policy and key give the same bytes."""
    made, envelope = signed_bundle(folder, revision, key, since=since)
    out.write_bytes(envelope)
    value = {"file": str(out), **about(made)}
    Output(as_json=json_output).result(value, lambda: f"{out}\n{lines(made)}")


def verify(
    file: Annotated[Path, typer.Argument(help="A bundle.")],
    trusted: Annotated[
        Path, typer.Option("--trusted", help="Public keys, from `argy keys policy-public`.")
    ],
    json_output: Json = False,
) -> None:
    """Prove that a trusted key signed a bundle as it is, and that its policy loads."""
    from argy.base.dsse import TrustedKeys
    from argy.policy.bundle import open_bundle

    opened = open_bundle(_read(file), TrustedKeys.load(trusted))
    value = {"file": str(file), "verified": True, **about(opened)}
    Output(as_json=json_output).result(value, lambda: f"{file}: verified\n{lines(opened)}")


def signed_bundle(
    folder: Path, revision: str, key: Path, *, since: str = ""
) -> "tuple[Bundle, bytes]":
    """The policy's bundle, and the same signed; it tells who wrote the commits after ``since``.

    Raises:
        InvalidArgument: when the policy does not load, or there is no such key.
        FailedPrecondition: when the key can't be read, or others may read it.
    """
    from dataclasses import replace

    from argy.base.dsse import SigningKeys
    from argy.base.errors import InvalidArgument
    from argy.policy.bundle import build_bundle, read_bundle, sign_bundle
    from argy.policy.errors import PolicyError
    from argy.policy.files import read_authors, read_committed, read_revision

    if not key.is_file():
        raise InvalidArgument(
            f"there is no key {key}: `argy keys policy-new {key}` makes one; on the platform of "
            "`argy up` it is .argy/keys/policy-author.json",
            field="key",
        )
    keys = SigningKeys.load(key)
    try:
        files = read_revision(folder, revision) if revision else read_committed(folder)
        if files.commit:
            files = replace(files, authors=read_authors(folder, files.commit, since))
        payload = build_bundle(files)
    except PolicyError as error:
        raise InvalidArgument(error.message, reason=error.reason) from error
    return read_bundle(payload), sign_bundle(payload, keys)


def about(made: "Bundle") -> dict[str, Any]:
    """What a bundle says of itself."""
    return {
        "bundle_digest": made.digest,
        "policy_revision": made.source.revision,
        "commit": made.manifest.commit,
        "authors": list(made.manifest.authors),
        "files": len(made.files),
        "rules": len(made.source.rules),
    }


def lines(made: "Bundle") -> str:
    """The same for people."""
    commit = made.manifest.commit or "none: it was not committed as it is"
    return (
        f"  bundle  {made.digest}\n"
        f"  policy  {made.source.revision}\n"
        f"  commit  {commit}\n"
        f"  authors {', '.join(made.manifest.authors) or 'not known'}\n"
        f"  holds   {len(made.files)} files, {len(made.source.rules)} rules"
    )


def _read(file: Path) -> bytes:
    from argy.base.dsse import MAX_ENVELOPE
    from argy.base.errors import NotFound

    try:
        with file.open("rb") as opened:
            return opened.read(MAX_ENVELOPE + 1)
    except OSError as error:
        raise NotFound(f"{file} can't be read: {error.strerror}", field="file") from error
