"""Where the platform is and who we are: flags, then environment, then the state of ``argy up``."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar
from uuid import UUID

import typer

from argy.api.directory.v1.tenant_pb2 import ListOrgsRequest, ListTenantsRequest
from argy.api.directory.v1.tenant_pb2_grpc import OrgServiceStub, TenantServiceStub
from argy.base.errors import ArgyError, FailedPrecondition, InvalidArgument, NotFound
from argy.base.ids import PLATFORM_TENANT_ID
from argy.cli.output import Output, exit_code
from argy.client.connection import Connection, Endpoint

Result = TypeVar("Result")

STATE_FILE = "up.json"

Tenant = Annotated[
    str, typer.Option("--tenant", "-t", envvar="ARGY_TENANT", help="Tenant, by slug or UUID.")
]
Org = Annotated[str, typer.Option("--org", envvar="ARGY_ORG", help="Org, by slug or UUID.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, one document a line.")]


def state_folder() -> Path:
    """The ``.argy`` folder of this checkout or project: ARGY_HOME, or the nearest one upwards."""
    if home := os.environ.get("ARGY_HOME"):
        return Path(home)
    return nearest_state(Path.cwd(), uid=os.geteuid())


def nearest_state(here: Path, *, uid: int) -> Path:
    """The nearest ``.argy`` folder of a running platform, from ``here`` upwards, or a new one here.

    Raises:
        FailedPrecondition: when another user than ``uid`` made it. Where everybody may write, such
            as /tmp, it could lead our keys to a server of theirs (compare CVE-2022-24765).
    """
    for folder in (here, *here.parents):
        state = folder / ".argy" / STATE_FILE
        if not state.is_file():
            continue
        if {state.lstat().st_uid, state.parent.lstat().st_uid} != {uid}:
            raise FailedPrecondition(
                f"{state.parent} belongs to another user: to use it, set ARGY_HOME={state.parent}",
                reason="STATE_OF_ANOTHER",
            )
        return state.parent
    return here / ".argy"


def endpoint() -> Endpoint:
    """How to reach the platform.

    Raises:
        InvalidArgument: naming what to set, when neither environment nor a running ``argy up``
            says where the platform is.
    """
    if os.environ.get("ARGY_TARGET"):
        # A service key says whose it is: the command line then signs as that service.
        service = os.environ.get("ARGY_SERVICE_KEY", "").partition(":")[0]
        return Endpoint.from_env(source=service or "cli")
    state = state_folder() / STATE_FILE
    try:
        return Endpoint(**json.loads(state.read_text())["endpoint"])
    except FileNotFoundError:
        raise InvalidArgument(
            "no platform is known: run `argy up`, or set ARGY_TARGET and ARGY_CLIENT_KEYS_FILE",
            reason="NO_ENDPOINT",
        ) from None
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidArgument(
            f"{state} is damaged: stop the platform and run `argy up` again", reason="BAD_STATE"
        ) from error


@asynccontextmanager
async def connected() -> AsyncIterator[Connection]:
    """A signed connection to the platform."""
    async with Connection(endpoint()) as connection:
        yield connection


async def find_tenant(connection: Connection, name: str) -> UUID:
    """A tenant's id from its slug or UUID."""
    if name == "platform":
        return PLATFORM_TENANT_ID
    if (known := _as_uuid(name)) is not None:
        return known
    stub = TenantServiceStub(connection.channel(PLATFORM_TENANT_ID))
    found = await stub.ListTenants(ListTenantsRequest(slug=name, page_size=1))
    if not found.tenants:
        raise NotFound(f"there is no tenant '{name}'", reason="TENANT_NOT_FOUND", field="tenant")
    return UUID(found.tenants[0].tenant_id)


async def find_org(connection: Connection, tenant_id: UUID, name: str) -> UUID | None:
    """An org's id from its slug or UUID; None for an empty name."""
    if not name or (known := _as_uuid(name)) is not None:
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
        output.error(error)
        raise typer.Exit(exit_code(error)) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _as_uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
