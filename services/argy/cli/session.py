"""A command's connection to the platform, and the names that its options give."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import typer

from argy.api.directory.v1.tenant_pb2 import ListOrgsRequest, ListTenantsRequest
from argy.api.directory.v1.tenant_pb2_grpc import OrgServiceStub, TenantServiceStub
from argy.base.errors import ArgyError, InvalidArgument, NotFound
from argy.base.ids import PLATFORM_TENANT_ID
from argy.cli.acting import TOKEN, Person, acting, tenant_untold
from argy.cli.endpoints import endpoint
from argy.cli.output import Exit, Output, exit_code
from argy.client.connection import Connection

Result = TypeVar("Result")


@asynccontextmanager
async def connected() -> AsyncIterator[Connection]:
    """A signed connection to the platform, on which whoever is signed in acts."""
    async with Connection(endpoint(), bearer=acting()) as connection:
        yield connection


def signed_in_person(connection: Connection) -> Person | None:
    """Who acts on a connection; None when the service does."""
    return connection.bearer if isinstance(connection.bearer, Person) else None


async def find_tenant(connection: Connection, name: str) -> UUID:
    """A tenant's id from its slug or UUID; without a name the one of who acts, or the platform's.

    Raises:
        FailedPrecondition: ``SIGNED_IN_ELSEWHERE``, when who acts is of another one.
        NotFound: when there is none of that name.
    """
    person = signed_in_person(connection)
    if person is not None and person.tenant_id is not None:
        if name and name != person.tenant and as_uuid(name) != person.tenant_id:
            raise person.elsewhere(name)
        return person.tenant_id
    if person is not None and not name:
        raise tenant_untold()
    return await tenant_called(connection, name)


async def tenant_called(connection: Connection, name: str) -> UUID:
    """A tenant's id from its slug or UUID, whoever acts; empty for the platform's.

    Raises:
        NotFound: when there is none of that name.
    """
    if name in {"", "platform"}:
        return PLATFORM_TENANT_ID
    if (known := as_uuid(name)) is not None:
        return known
    # Which tenant a name means is the service's question: it is nobody's act in another one.
    stub = TenantServiceStub(connection.own_channel(PLATFORM_TENANT_ID))
    found = await stub.ListTenants(ListTenantsRequest(slug=name, page_size=1))
    if not found.tenants:
        raise NotFound(f"there is no tenant '{name}'", reason="TENANT_NOT_FOUND", field="tenant")
    return UUID(found.tenants[0].tenant_id)


def tenant_name(connection: Connection, name: str) -> str:
    """What a command's tenant is called in what it prints."""
    person = signed_in_person(connection)
    return name or (person.tenant if person is not None else "") or "platform"


async def find_org(connection: Connection, tenant_id: UUID, name: str) -> UUID | None:
    """An org's id from its slug or UUID; None for an empty name."""
    if not name or (known := as_uuid(name)) is not None:
        return known if name else None
    stub = OrgServiceStub(connection.channel(tenant_id))
    found = await stub.ListOrgs(ListOrgsRequest(slug=name, page_size=1))
    if not found.orgs:
        raise NotFound(f"there is no org '{name}'", reason="ORG_NOT_FOUND", field="org")
    return UUID(found.orgs[0].org_id)


async def every(call: Callable[[Any], Awaitable[Any]], request: Any, items: str) -> list[Any]:
    """All ``items`` of a paged list, from ``request`` on; bounded by what a terminal can show.

    Raises:
        InvalidArgument: past 100,000 items; a narrower filter is wanted.
    """
    found: list[Any] = []
    while True:
        page = await call(request)
        found += getattr(page, items)
        if not page.next_page_token:
            return found
        if len(found) > 100_000:
            raise InvalidArgument(f"more than 100,000 {items}: narrow the filter")
        request.page_token = page.next_page_token


def run(as_json: bool, work: Callable[[Connection, Output], Awaitable[Result]]) -> Result:
    """Connect, do ``work``, and turn an error into its message and exit code."""
    output = Output(as_json=as_json)

    async def connect_and_work() -> Result:
        async with connected() as connection:
            return await work(connection, output)

    try:
        return asyncio.run(connect_and_work())
    except ArgyError as error:
        output.error(_with_next_step(error))
        raise typer.Exit(exit_code(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(Exit.INTERRUPTED) from None


def _with_next_step(error: ArgyError) -> ArgyError:
    """The error with what to do about it, when it wants a person who proves to be one."""
    if error.reason != "PROOF_REQUIRED":
        return error
    return type(error)(
        "people answer for this themselves: whoever does it signs in by `argy login --tenant …`, "
        f"or has a personal access token of their own in {TOKEN}",
        reason=error.reason,
        violations=error.violations,
        metadata=error.metadata,
    )


def as_uuid(name: str) -> UUID | None:
    """The UUID that a name is; None when it is something else."""
    try:
        return UUID(name)
    except ValueError:
        return None
