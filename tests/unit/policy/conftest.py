from collections.abc import Callable
from pathlib import Path

import pytest

from argy.policy import Assignment, CompiledPolicy, Membership, TenantSnapshot, compile_policy
from argy.policy.equivalence import model_text
from argy.policy.loader import parse_policy
from argy.policy.model import Effect

MakePolicy = Callable[..., CompiledPolicy]
MakeSnapshot = Callable[..., TenantSnapshot]


@pytest.fixture(scope="session")
def policy_root() -> Path:
    """The product's own policy."""
    return Path(__file__).parents[3] / "policy"


@pytest.fixture
def make_policy() -> MakePolicy:
    """Compile rows given as text, under an effect."""

    def make(rows: str, effect: Effect = Effect.DENY_OVERRIDES) -> CompiledPolicy:
        files = {"model.conf": model_text(effect), "services.csv": rows}
        return compile_policy(parse_policy(files))

    return make


@pytest.fixture
def make_snapshot(make_policy: MakePolicy) -> MakeSnapshot:
    """A snapshot of tenant acme from rows and (subject, role, org, expiry) tuples."""

    def make(
        rows: str,
        *grants: tuple[str, str] | tuple[str, str, str] | tuple[str, str, str, int | None],
        members: tuple[tuple[str, str], ...] = (),
        disabled: tuple[str, ...] = (),
        effect: Effect = Effect.DENY_OVERRIDES,
    ) -> TenantSnapshot:
        return TenantSnapshot(
            make_policy(rows, effect),
            "acme",
            [Assignment(*grant) for grant in grants],
            [Membership(*member) for member in members],
            disabled=disabled,
        )

    return make
