"""Settings come from the environment, whole or not at all."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from argy.base.config import load, setting, table
from argy.base.errors import InvalidArgument


@dataclass(frozen=True)
class Example:
    """Some settings."""

    url: str = setting("URL", "where it is")
    folder: Path = setting("FOLDER", "a folder", default=Path("here"))
    count: int = setting("COUNT", "how many", default=1)
    share: float = setting("SHARE", "a part", default=0.5)
    loud: bool = setting("LOUD", "whether", default=False)
    extra: Path | None = setting("EXTRA", "perhaps", default=None)


def problems(env: dict[str, str]) -> dict[str, str]:
    with pytest.raises(InvalidArgument) as refused:
        load(Example, env)
    assert refused.value.reason == "CONFIG_INVALID"
    return {violation.field: violation.description for violation in refused.value.violations}


def test_values_have_their_types() -> None:
    env = {
        "ARGY_URL": "x", "ARGY_COUNT": "3", "ARGY_SHARE": "0.1", "ARGY_LOUD": "Yes",
        "ARGY_EXTRA": "/x", "HOME": "ignored",
    }  # fmt: skip
    assert load(Example, env) == Example("x", Path("here"), 3, 0.1, True, Path("/x"))


def test_every_problem_is_named_at_once() -> None:
    found = problems({"ARGY_COUNT": "many", "ARGY_LOUD": "perhaps", "ARGY_URI": "x"})
    assert set(found) == {"ARGY_URL", "ARGY_COUNT", "ARGY_LOUD", "ARGY_URI"}
    assert "is required: where it is" in found["ARGY_URL"]
    assert "no setting of Argy" in found["ARGY_URI"]


def test_variables_of_other_parts_are_let_be() -> None:
    assert load(Example, {"ARGY_URL": "x", "ARGY_HOME": "y"}, elsewhere=frozenset({"ARGY_HOME"}))


def test_a_secret_may_come_by_file_but_not_twice(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("secret\n")
    file.chmod(0o600)
    assert load(Example, {"ARGY_URL_FILE": str(file)}).url == "secret"
    assert "twice" in problems({"ARGY_URL_FILE": str(file), "ARGY_URL": "x"})["ARGY_URL"]
    assert "ARGY_URL" in problems({"ARGY_URL_FILE": str(tmp_path / "none")})
    file.write_text("x" * 70_000)
    assert "larger than" in problems({"ARGY_URL_FILE": str(file)})["ARGY_URL"]
    file.write_bytes(b"secret\xff")
    told = problems({"ARGY_URL_FILE": str(file)})["ARGY_URL"]
    assert "UTF-8" in told
    assert "secret" not in told


def test_a_setting_in_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("redis://:planted@elsewhere")
    for mode in (0o640, 0o604, 0o622):
        file.chmod(mode)
        told = problems({"ARGY_URL_FILE": str(file)})["ARGY_URL"]
        assert "chmod 600" in told
        assert "planted" not in told


def test_no_setting_shows_when_its_settings_are_shown() -> None:
    assert "hunter2" not in repr(load(Example, {"ARGY_URL": "redis://:hunter2@h"}))


def test_the_table_tells_every_setting() -> None:
    assert table(Example)[:2] == [
        ("ARGY_URL", "required", "where it is"),
        ("ARGY_FOLDER", "here", "a folder"),
    ]
