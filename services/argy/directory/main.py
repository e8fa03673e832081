"""Puts the directory together; decides nothing."""

from google.protobuf.descriptor import ServiceDescriptor

from argy.api.directory.v1 import tenant_pb2, user_pb2
from argy.base.clock import Clock
from argy.directory.changes import Recorder
from argy.directory.groups import Groups
from argy.directory.orgs import Orgs
from argy.directory.service import GroupService, OrgService, TenantService, UserService
from argy.directory.tenants import Tenants
from argy.directory.users import Users
from argy.rpc.access import Delegations
from argy.rpc.page_token import PageTokens
from argy.store.database import Database


def assemble(
    *, db: Database, access: Delegations, pages: PageTokens, clock: Clock
) -> tuple[tuple[object, ServiceDescriptor], ...]:
    """Wire the services; ``db`` acts as argy_directory."""
    record = Recorder(clock)
    tenants, users = tenant_pb2.DESCRIPTOR.services_by_name, user_pb2.DESCRIPTOR.services_by_name
    return (
        (TenantService(Tenants(db, record), pages), tenants["TenantService"]),
        (OrgService(Orgs(db, record), pages), tenants["OrgService"]),
        (UserService(Users(db, record), pages), users["UserService"]),
        (GroupService(Groups(db, record, access), pages), users["GroupService"]),
    )
