"""The directory's rules: names, addresses, the life cycle, the scope of a call."""

import pytest

from argy.base.errors import ArgyError, FailedPrecondition, InvalidArgument, PermissionDenied
from argy.base.ids import PLATFORM_TENANT_ID, uuid7
from argy.directory.domain import (
    Tenant,
    TenantState,
    check_may_delete,
    check_may_leave,
    checked_display_name,
    checked_slug,
    require_tenant_scope,
)


def tenant(*, state: TenantState = "SUSPENDED", platform: bool = False) -> Tenant:
    return Tenant(
        tenant_id=PLATFORM_TENANT_ID if platform else uuid7(),
        slug="acme",
        display_name="Acme",
        state=state,
        created_at_ms=0,
    )


@pytest.mark.parametrize("slug", ["a", "acme", "a-1", "a" * 63])
def test_slugs(slug: str) -> None:
    assert checked_slug(slug) == slug


@pytest.mark.parametrize("slug", ["", "1a", "-a", "a-", "A", "a_b", "a/b", "a\n", "ä", "a" * 64])
def test_other_slugs_are_refused(slug: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        checked_slug(slug)
    assert refusal.value.field == "slug"


def test_names_are_trimmed() -> None:
    assert checked_display_name(" Ada L. ") == "Ada L."


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\u202eb", "a\u200bb", "\x00"])
def test_invisible_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        checked_display_name(name)
    assert refusal.value.field == "display_name"


def test_the_platform_stays() -> None:
    check_may_leave(uuid7())
    with pytest.raises(FailedPrecondition):
        check_may_leave(PLATFORM_TENANT_ID)


@pytest.mark.parametrize(
    ("doomed", "slug", "reason"),
    [
        (tenant(state="ACTIVE"), "acme", "TENANT_ACTIVE"),
        (tenant(), "acme2", "CONFIRMATION_MISMATCH"),
        (tenant(platform=True), "acme", "PLATFORM_TENANT"),
    ],
)
def test_deletion_is_refused(doomed: Tenant, slug: str, reason: str) -> None:
    with pytest.raises(ArgyError) as refusal:
        check_may_delete(doomed, confirm_slug=slug)
    assert refusal.value.reason == reason


def test_a_suspended_tenant_may_be_deleted() -> None:
    check_may_delete(tenant(), confirm_slug="acme")


def test_an_org_is_not_the_tenant() -> None:
    require_tenant_scope(None)
    with pytest.raises(PermissionDenied):
        require_tenant_scope(uuid7())
