"""How commands end: exit code 1 is an answer alone, and nothing ends in a traceback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ARGY = Path(sys.executable).with_name("argy")
CHECKOUT = Path(__file__).parents[3]
TELLING = ("policy", "diff", "--policy", str(CHECKOUT / "policy"), "HEAD", "HEAD")
BROKEN_PIPE, OUTPUT, USAGE, NOT_CONFIRMED = 141, 74, 2, 7


def argy(*arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ARGY_")}
    env = kept | {"NO_COLOR": "1"} | options.pop("env", {})
    told = {"stdout": subprocess.PIPE} | options
    return subprocess.run(
        [ARGY, *arguments], env=env, cwd=CHECKOUT, stderr=subprocess.PIPE, text=True,
        check=False, timeout=120, **told,
    )  # fmt: skip


def test_the_version_is_told() -> None:
    done = argy("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "argy")
    assert done.stdout.split()[1][0].isdigit()


@pytest.mark.parametrize(
    "arguments",
    [
        TELLING,
        (*TELLING, "--format", "json"),
        ("settings",),
        ("settings", "--json"),
        ("--version",),
    ],
)
def test_a_reader_that_went_away_ends_it_quietly(arguments: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = argy(*arguments, stdout=write)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (BROKEN_PIPE, "")


@pytest.mark.parametrize("arguments", [TELLING, (*TELLING, "--format", "json"), ("settings",)])
def test_output_that_finds_no_room_is_no_denial(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = argy(*arguments, stdout=full)
    assert done.returncode == OUTPUT
    assert done.stderr.startswith("error No space left on device")
    assert "Traceback" not in done.stderr


def test_a_terminal_of_ascii_alone_gets_all_that_it_can_show() -> None:
    done = argy(*TELLING, env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2192" in done.stdout


@pytest.mark.parametrize("edge", ["https://h:99999", "https://[::1", "http://h", "nonsense"])
def test_an_edge_that_is_no_url_is_bad_usage(edge: str, tmp_path: Path) -> None:
    done = argy("login", "--edge", edge, env={"ARGY_HOME": str(tmp_path)})
    assert done.returncode == USAGE
    assert done.stderr.startswith("error the edge")


def test_a_question_that_nobody_answers_is_not_confirmed(tmp_path: Path) -> None:
    reset = ("user", "reset-sign-in", "dana@acme.example", "--tenant", "acme", "-m", "lost")
    for typed in ("n\n", ""):
        done = argy(*reset, input=typed)
        assert done.returncode == NOT_CONFIRMED
        assert "--yes" in done.stderr


def test_a_place_that_can_not_be_written_is_told_before_anybody_confirms(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = argy("login", "--edge", "https://localhost:1", env={"ARGY_HOME": str(file / "home")})
    assert "LOGIN_UNWRITABLE" in done.stderr
    assert "Traceback" not in done.stderr
