"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated, Final

import typer

Tenant = Annotated[
    str,
    typer.Option(
        "--tenant",
        "-t",
        envvar="ARGY_TENANT",
        help="Tenant, by slug or UUID; else the one that you are signed in at, or platform.",
    ),
]
Org = Annotated[str, typer.Option("--org", envvar="ARGY_ORG", help="Org, by slug or UUID.")]
As = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="SUBJECT",
        help="Act for somebody who proves nothing, as when nobody can sign in yet.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one document a line.")]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask.")]

Subject = Annotated[
    str,
    typer.Argument(
        help="An e-mail address, user:<id>, group:<slug>, service:<name> or agent:<name>."
    ),
]
OfSubject = Annotated[str, typer.Argument(help="Only this subject's.")]
User = Annotated[str, typer.Argument(metavar="USER", help="E-mail address or UUID.")]
Role = Annotated[str, typer.Argument(help="The role, such as PLATFORM_USER.")]
Action = Annotated[str, typer.Argument(help="The verb, such as read.")]
Resource = Annotated[str, typer.Argument(help="<type>:<id>, such as project:alpha.")]
Slug = Annotated[str, typer.Argument(help="Short name: lower-case letters, digits, hyphens.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Its id, from the list.")]

Context = Annotated[str, typer.Option("--context", help="JSON object of facts for conditions.")]
Name = Annotated[str, typer.Option("--name", help="For people; the short name if not given.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; kept in the audit log.")]
Comment = Annotated[str, typer.Option("--comment", "-m", help="What to say about it.")]
Scopes = Annotated[
    list[str], typer.Option("--scope", "-s", help="A permission, such as project:read; repeatable.")
]
Days = Annotated[int, typer.Option(help="Days until it ends, 1 to 366.")]

Folder = Annotated[Path, typer.Option("--policy", help="The policy folder.")]
DEFAULT_FOLDER: Final = Path("policy")
Base = Annotated[str, typer.Argument(help="A git revision: main, HEAD~1, a commit.")]
Head = Annotated[str, typer.Argument(help="A git revision; the working tree if not given.")]
Revision = Annotated[
    str, typer.Option("--revision", help="A git revision, without a checkout, instead of the disk.")
]
Jobs = Annotated[int, typer.Option(min=0, max=64, help="Processes; 0 chooses.")]
Live = Annotated[bool, typer.Option("--live", help="Ask the running platform.")]
Fails = Annotated[bool, typer.Option("--exit-code", help="Exit with 1 when anything changes.")]
Assignments = Annotated[
    Path | None, typer.Option("--assignments", help="A file of `argy policy export`.")
]
