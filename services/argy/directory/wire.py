"""The domain's values as messages of the directory API."""

from typing import Final

from argy.api.directory.v1 import tenant_pb2 as tenants
from argy.api.directory.v1 import user_pb2 as users
from argy.directory.domain import Group, Org, Tenant, TenantState, User, UserState

_TENANT_STATES: Final[dict[TenantState, tenants.TenantState.ValueType]] = {
    "ACTIVE": tenants.TENANT_STATE_ACTIVE,
    "SUSPENDED": tenants.TENANT_STATE_SUSPENDED,
}
_USER_STATES: Final[dict[UserState, users.UserState.ValueType]] = {
    "ACTIVE": users.USER_STATE_ACTIVE,
    "DISABLED": users.USER_STATE_DISABLED,
}
_USER_STATE_NAMES: Final = {value: name for name, value in _USER_STATES.items()}


def user_state(value: users.UserState.ValueType) -> UserState:
    """The state that a message names; the value is one of those that the rules let in."""
    return _USER_STATE_NAMES[value]


def tenant_message(tenant: Tenant) -> tenants.Tenant:
    """The tenant as a message."""
    message = tenants.Tenant(
        tenant_id=str(tenant.tenant_id),
        slug=tenant.slug,
        display_name=tenant.display_name,
        state=_TENANT_STATES[tenant.state],
    )
    message.create_time.FromMilliseconds(tenant.created_at_ms)
    return message


def org_message(org: Org) -> tenants.Org:
    """The org as a message."""
    message = tenants.Org(org_id=str(org.org_id), slug=org.slug, display_name=org.display_name)
    message.create_time.FromMilliseconds(org.created_at_ms)
    return message


def user_message(user: User) -> users.User:
    """The user as a message."""
    message = users.User(
        user_id=str(user.user_id),
        email=user.email,
        display_name=user.display_name,
        state=_USER_STATES[user.state],
        external_id=user.external_id,
    )
    message.create_time.FromMilliseconds(user.created_at_ms)
    return message


def group_message(group: Group) -> users.Group:
    """The group as a message."""
    message = users.Group(
        group_id=str(group.group_id), slug=group.slug, display_name=group.display_name
    )
    message.create_time.FromMilliseconds(group.created_at_ms)
    return message
