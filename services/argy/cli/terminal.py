"""A command that asks the platform: the options that all of these share, and what it works with."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final
from uuid import UUID

import typer

from argy.base.errors import InvalidArgument
from argy.cli.options import As, Json, Org, Tenant
from argy.cli.output import Exit, Output
from argy.cli.session import find_org, find_tenant, run, signed_in_person, tenant_name
from argy.cli.subjects import Subjects, acting_channel
from argy.client import Connection

REQUIRED: Final = "REQUIRED"
"""In place of a tenant: who isn't signed in must name it."""
PLATFORM: Final = "platform"


@dataclass(slots=True)
class Terminal:
    """Where a command asks, what it prints to, and what its shared options said."""

    connection: Connection
    output: Output
    tenant: str = ""
    org: str = ""
    as_: str = ""
    required: bool = False
    """Whether the tenant must be told, by an option or a sign-in."""
    _subjects: Subjects | None = None

    @property
    def tenant_name(self) -> str:
        """What the tenant is called in what is printed."""
        return tenant_name(self.connection, self.tenant)

    @property
    def place(self) -> str:
        """The options that name tenant and org, for a command to type."""
        return f"--tenant {self.tenant_name}{f' --org {self.org}' if self.org else ''}"

    async def subjects(self) -> Subjects:
        """The people and groups of the tenant.

        Raises:
            InvalidArgument: ``TENANT_REQUIRED``.
            NotFound, FailedPrecondition: as ``find_tenant``.
        """
        if self._subjects is None:
            if self.required and not self.tenant and signed_in_person(self.connection) is None:
                raise InvalidArgument(
                    "say which tenant: --tenant, or sign in there with `argy login`",
                    reason="TENANT_REQUIRED",
                    field="tenant",
                )
            tenant_id = await find_tenant(self.connection, self.tenant)
            self._subjects = Subjects(self.connection, tenant_id, self.tenant_name)
        return self._subjects

    async def tenant_id(self) -> UUID:
        """The tenant; raises as ``subjects``."""
        return (await self.subjects()).tenant_id

    async def org_id(self) -> UUID | None:
        """The org that --org names in the tenant; None for none."""
        return await find_org(self.connection, await self.tenant_id(), self.org)

    async def channel(self, for_: str = "") -> Any:
        """The channel in tenant and org on which who is signed in acts, or else who --as names.

        ``for_`` is for whom the service acts where nothing else says it.
        """
        subjects, org_id = await self.subjects(), await self.org_id()
        for_ = self.as_ or for_
        return await acting_channel(self.connection, self.output, subjects, org_id, for_=for_)


def asking(
    *,
    tenant: str = "",
    org: bool = False,
    as_: bool = False,
    first: Callable[..., None] | None = None,
) -> Callable[[Callable[..., Awaitable[bool | None]]], Callable[..., None]]:
    """Make a command of a coroutine of a ``Terminal`` and the command's own parameters.

    ``tenant``: empty for an option that may be left out, ``REQUIRED``, or always this one. ``org``
    and ``as_``: whether there are such options. ``first`` gets the parameters before anything is
    connected, to refuse or to ask. A result of False is the exit code of a DENY.
    """
    shared: list[tuple[str, Any, object]] = [("json_output", Json, False)]
    for name, kind, wanted in (
        ("as_", As, as_),
        ("org", Org, org),
        ("tenant", Tenant, tenant in ("", REQUIRED)),
    ):
        if wanted:
            shared.insert(0, (name, kind, ""))
    fixed = {"required": True} if tenant == REQUIRED else {"tenant": tenant}

    def made(work: Callable[..., Awaitable[bool | None]]) -> Callable[..., None]:
        def command(*, json_output: bool, **given: Any) -> None:
            options = {name: given.pop(name) for name, *_ in shared if name in given}

            def begin(connection: Connection, output: Output) -> Awaitable[bool | None]:
                return work(Terminal(connection, output, **{**fixed, **options}), **given)

            if first is not None:
                first(json_output=json_output, **given)
            if run(json_output, begin) is False:
                raise typer.Exit(Exit.DENIED)

        named = partial(inspect.Parameter, kind=inspect.Parameter.KEYWORD_ONLY)
        own = list(inspect.signature(work).parameters.values())[1:]
        parameters = [
            *(one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own),
            *(named(name, annotation=kind, default=default) for name, kind, default in shared),
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        command.__name__, command.__doc__ = work.__name__, work.__doc__
        return command

    return made
