"""``argy policy fmt``: write the policy's files in their canonical form."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from argy.base.errors import InvalidArgument
from argy.cli.options import DEFAULT_FOLDER, Folder
from argy.cli.output import Exit, printable
from argy.cli.policy.render import Format, FormatOption, emit, reported

_STYLES = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True, slots=True)
class _Change:
    """A file that is not in its canonical form."""

    path: Path
    before: str
    after: str
    line_break: str
    """As the file has it on disk: what git keeps is git's own matter (core.autocrlf)."""

    @property
    def diff(self) -> str:
        """The unified diff."""
        name = self.path.as_posix()
        lines = unified_diff(
            self.before.splitlines(), self.after.splitlines(), name, name, lineterm=""
        )
        return "\n".join(lines)


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("fmt")(fmt)


def fmt(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Only these files of the policy folder.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit code 1 and a diff if need be.")
    ] = False,
    folder: Folder = DEFAULT_FOLDER,
    format_: FormatOption = Format.TEXT,
) -> None:
    """Write rules, links and approvals in one form; what they say and their order stay."""
    with reported(format_, code=Exit.USAGE):
        chosen = _chosen(folder, files or ())
        changes = [change for path in chosen if (change := _change(folder, path)) is not None]
        if not check:
            for change in changes:
                _replace(change.path, change.after.replace("\n", change.line_break))
        _report(format_, changes, len(chosen), check)
    if check and changes:
        raise typer.Exit(1)


def _chosen(folder: Path, files: Sequence[Path]) -> list[Path]:
    """The files to look at, each inside of the policy's folder.

    Raises:
        InvalidArgument: for what is not a file of the policy; other CSV files are nobody's here.
    """
    if not folder.is_dir():
        raise InvalidArgument(f"{folder} is not a folder", field="policy")
    wanted = list(files) or [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".csv", ".yaml")
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    base = folder.resolve()
    for path in wanted:
        if not path.is_file():
            raise InvalidArgument(f"{path} is not a file", field="files")
        if not path.resolve().is_relative_to(base):
            raise InvalidArgument(f"{path} is not in the policy folder {folder}", field="files")
    return wanted


def _change(folder: Path, path: Path) -> _Change | None:
    from argy.policy.fmt import format_file
    from argy.policy.loader import MAX_FILE_BYTES
    from argy.policy.texts import text_of

    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise InvalidArgument(f"{path} has more than {MAX_FILE_BYTES} bytes", field="files")
    before = text_of(str(path), data)
    after = format_file(path.resolve().relative_to(folder.resolve()).as_posix(), before)
    return (
        None
        if after == before
        else _Change(path, before, after, "\r\n" if b"\r\n" in data else "\n")
    )


def _replace(path: Path, text: str) -> None:
    """Write the file as a whole or not at all, with the mode that it had."""
    target = path.resolve()
    # Two dots: a server that reads this folder meanwhile looks past such a name.
    handle, name = tempfile.mkstemp(prefix="..fmt-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(target, name)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink()
        raise


def _report(format_: Format, changes: Sequence[_Change], files: int, check: bool) -> None:
    done = "would be written anew" if check else "written anew"
    told = f"{len(changes)} of {files} files {done}"

    def text() -> Text:
        shown = Text()
        for change in changes:
            if not check:
                shown.append(f"{change.path.as_posix()}\n")
                continue
            for line in change.diff.split("\n"):
                shown.append(f"{printable(line)}\n", style=_STYLES.get(line[:1], ""))
        return shown.append(told)

    def markdown() -> str:
        from argy.policy.markdown import block

        lines = [f"### policy fmt: {told}"]
        if changes and check:
            lines.append("Run `argy policy fmt`.")
            lines.append(block("\n".join(change.diff for change in changes), "diff"))
        return "\n\n".join(lines)

    emit(
        format_,
        text=text,
        value=lambda: {
            "files": files,
            "changed": [
                {"file": change.path.as_posix(), "diff": change.diff} for change in changes
            ],
        },
        markdown=markdown,
    )
