"""A run is checked when it is made, every problem named at once."""

import pytest

from argy.agentd.run_spec import Limits, RunSpec
from argy.base.errors import InvalidArgument


@pytest.mark.parametrize(
    "run_id", ["", ".", "..", "../x", "/etc", "a/b", "-a", "a\0", "a\n", "x" * 65]
)
def test_run_ids_that_are_none(run_id: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        RunSpec(run_id, ("true",))
    assert refused.value.field == "run_id"


def test_every_problem_at_once() -> None:
    with pytest.raises(InvalidArgument) as refused:
        RunSpec(
            "a",
            (),
            env={"ARGY_RUN_ID": "b", "A=B": "c"},
            secrets={"../up": b"x"},
            limits=Limits(memory_bytes=0),
            network=("metadata", "169.254.169.254:80", "host:99999"),
            artifacts=("/etc/passwd", "a/../b"),
        )
    fields = [violation.field for violation in refused.value.violations]
    assert fields == [
        "argv", "env", "env", "secrets", "limits.memory_bytes",
        "network", "network", "network", "artifacts", "artifacts",
    ]  # fmt: skip


def test_a_secret_does_not_show() -> None:
    assert "hidden" not in repr(RunSpec("a", ("true",), secrets={"k": b"hidden"}))


def test_endpoints() -> None:
    assert RunSpec("a", ("true",), network=("example.test:443", "[2001:db8::1]:8443", "10.0.0.1:1"))
