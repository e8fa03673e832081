"""Tenants, orgs, users and groups as values, and the rules that hold whatever the storage."""

import re
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from argy.base.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from argy.base.foreign_text import name_of
from argy.base.ids import PLATFORM_TENANT_ID

MAX_SLUG: Final = 63
MAX_DISPLAY_NAME: Final = 200
_SLUG: Final = re.compile(rf"[a-z][a-z0-9-]{{0,{MAX_SLUG - 1}}}")


TenantState = Literal["ACTIVE", "SUSPENDED"]
"""Where a tenant is in its life."""

UserState = Literal["ACTIVE", "DISABLED"]
"""Whether a user may act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One isolated customer. ``created_at_ms``: milliseconds since the Unix epoch."""

    tenant_id: UUID
    slug: str
    display_name: str
    state: TenantState
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Org:
    """One organization of a tenant."""

    org_id: UUID
    slug: str
    display_name: str
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One person of a tenant."""

    user_id: UUID
    email: str
    display_name: str
    state: UserState
    external_id: str
    """What another system calls them; empty when none does."""
    created_at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A set of users of one tenant."""

    group_id: UUID
    slug: str
    display_name: str
    created_at_ms: int


def checked_slug(slug: str) -> str:
    """Return the slug: it stands in policy paths and in domains for ever, so its form is narrow.

    Raises:
        InvalidArgument: ``INVALID_SLUG``.
    """
    if _SLUG.fullmatch(slug) is None or slug.endswith("-"):
        raise InvalidArgument(
            f"slug must be 1 to {MAX_SLUG} of a-z 0-9 -, begin with a letter and not end with -",
            reason="INVALID_SLUG",
            field="slug",
        )
    return slug


def checked_display_name(name: str) -> str:
    """Return the name in NFC, without white space around it.

    Raises:
        InvalidArgument: ``INVALID_DISPLAY_NAME``, when nothing is left, or for control, bidi and
            invisible characters, with which a name could pose as another one.
    """
    trimmed = name_of(name, most=MAX_DISPLAY_NAME)
    if not trimmed:
        raise InvalidArgument(
            "display_name must hold visible characters only",
            reason="INVALID_DISPLAY_NAME",
            field="display_name",
        )
    return trimmed


def check_may_leave(tenant_id: UUID) -> None:
    """Refuse to suspend, resume or delete the platform's own tenant.

    Raises:
        FailedPrecondition: ``PLATFORM_TENANT``.
    """
    if tenant_id == PLATFORM_TENANT_ID:
        raise FailedPrecondition(
            "The platform's own tenant can be neither suspended nor deleted",
            reason="PLATFORM_TENANT",
            field="tenant_id",
        )


def check_may_delete(tenant: Tenant, *, confirm_slug: str) -> None:
    """Refuse to delete the platform, a tenant in use, or one whose name was not typed right.

    Raises:
        FailedPrecondition: ``PLATFORM_TENANT``, ``CONFIRMATION_MISMATCH`` or ``TENANT_ACTIVE``.
    """
    check_may_leave(tenant.tenant_id)
    if confirm_slug != tenant.slug:
        raise FailedPrecondition(
            "confirm_slug is not the slug of this tenant",
            reason="CONFIRMATION_MISMATCH",
            field="confirm_slug",
        )
    if tenant.state != "SUSPENDED":
        raise FailedPrecondition(
            "Suspend the tenant first", reason="TENANT_ACTIVE", field="tenant_id"
        )


def require_tenant_scope(org_id: UUID | None) -> None:
    """Refuse a call in an org: what it would reach belongs to the whole tenant.

    A permission that is held in one org must not act outside it.

    Raises:
        PermissionDenied: ``TENANT_WIDE_ONLY``.
    """
    if org_id is not None:
        raise PermissionDenied(
            "This belongs to the whole tenant: call without x-org-id",
            reason="TENANT_WIDE_ONLY",
            field="x-org-id",
        )
