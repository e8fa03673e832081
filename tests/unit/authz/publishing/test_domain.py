"""What of a diff is kept for those who approve it."""

from argy.authz.publishing.domain import MAX_CHANGES, shown
from argy.policy.compare.changes import AccessChange

HARMLESS = AccessChange(
    "changed", "role:A", "*", "doc:1", "read", "allowed", "allowed if ctx.a", ("a.csv:1",), False
)
POWER = AccessChange("gained", "role:Z", "*", "*", "*", "denied", "allowed", ("z.csv:9",), True)


def test_a_flood_of_small_changes_does_not_hide_an_escalation() -> None:
    kept = shown([HARMLESS] * 2 * MAX_CHANGES + [POWER])
    assert len(kept) == MAX_CHANGES
    assert kept[0] == POWER


def test_one_huge_change_does_not_hide_the_others() -> None:
    huge = AccessChange(
        "changed", "role:A", "*", "doc:1", "read", "allowed", "x" * 5_000_000, (), False
    )
    assert shown([huge, HARMLESS])[1] == HARMLESS
