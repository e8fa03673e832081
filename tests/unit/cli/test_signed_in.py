"""Where a terminal keeps its tokens."""

import json
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from keyring.backends.fail import Keyring as NoKeyring

from argy.base.errors import FailedPrecondition, InvalidArgument, Unauthenticated
from argy.cli.edge_client import Answer, EdgeClient
from argy.cli.os_keyring import OsKeyring, locked
from argy.cli.signed_in import FILE, Login, config_folder, forget, load, save, system_vault

HELD = Login(
    edge="https://edge.example.test",
    ca_file="",
    tenant="acme",
    access_token="access-secret",
    refresh_token="refresh-secret",
    expires_at=time.time() + 600,
    scope="",
)


class Drawer:
    """A vault in memory."""

    def __init__(self, *, closed: bool = False) -> None:
        self.held: dict[str, str] = {}
        self.closed = closed

    def read(self, name: str) -> str:
        if self.closed:
            raise locked()
        return self.held.get(name, "")

    def keep(self, name: str, secret: str) -> None:
        if self.closed:
            raise locked()
        self.held[name] = secret

    def forget(self, name: str) -> None:
        self.held.pop(name, None)


def test_without_a_keyring_a_file_of_mode_0600_holds_the_tokens(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    save(HELD, folder, None)
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert load(folder, None) == HELD


def test_a_keyring_holds_the_secrets_and_the_file_none(tmp_path: Path) -> None:
    drawer = Drawer()
    save(HELD, tmp_path, drawer)
    text = (tmp_path / FILE).read_text()
    assert "secret" not in text
    assert json.loads(text)["tenant"] == "acme"
    assert load(tmp_path, drawer) == HELD
    forget(HELD, tmp_path, drawer)
    assert drawer.held == {}
    assert not (tmp_path / FILE).exists()


def test_a_locked_keyring_falls_back_to_the_file(tmp_path: Path) -> None:
    drawer = Drawer(closed=True)
    save(HELD, tmp_path, drawer)
    assert load(tmp_path, drawer) == HELD


def test_a_keyring_that_locks_later_is_told_of(tmp_path: Path) -> None:
    drawer = Drawer()
    save(HELD, tmp_path, drawer)
    drawer.closed = True
    with pytest.raises(FailedPrecondition) as refused:
        load(tmp_path, drawer)
    assert refused.value.reason == "KEYRING_LOCKED"
    with pytest.raises(Unauthenticated):
        load(tmp_path, None)


def test_nobody_is_signed_in_at_first(tmp_path: Path) -> None:
    with pytest.raises(Unauthenticated) as refused:
        load(tmp_path, None)
    assert refused.value.reason == "NOT_SIGNED_IN"


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    save(HELD, tmp_path, None)
    (tmp_path / FILE).chmod(0o644)
    with pytest.raises(FailedPrecondition):
        load(tmp_path, None)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"access_token": "x"}', "\x00"])
def test_a_damaged_file_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    (tmp_path / FILE).chmod(0o600)
    with pytest.raises(FailedPrecondition, match="argy login"):
        load(tmp_path, None)


def test_a_login_prints_no_token() -> None:
    assert "secret" not in repr(HELD)


def test_a_backend_that_holds_nothing_is_told_as_locked() -> None:
    backend: Any = NoKeyring
    with pytest.raises(FailedPrecondition):
        OsKeyring(backend()).read("x")


def test_argy_home_holds_everything(tmp_path: Path) -> None:
    home = {"ARGY_HOME": str(tmp_path)}
    assert config_folder(home) == tmp_path
    assert system_vault(home) is None
    assert config_folder({"XDG_CONFIG_HOME": str(tmp_path)}) == tmp_path / "argy"
    assert config_folder({}) == Path.home() / ".config" / "argy"


@pytest.mark.parametrize("url", ["http://edge", "ftp://edge", "https://", "edge", "https://e?x=1"])
def test_tokens_go_nowhere_but_to_an_https_edge(url: str) -> None:
    with pytest.raises(InvalidArgument):
        EdgeClient(url)


def test_an_edge_s_problem_becomes_our_error() -> None:
    told = {"detail": "no", "reason": "SCOPE_BEYOND_RIGHTS"}
    assert Answer(200, {"a": 1}).checked() == {"a": 1}
    with pytest.raises(InvalidArgument) as refused:
        Answer(400, told).checked()
    assert (refused.value.message, refused.value.reason) == ("no", "SCOPE_BEYOND_RIGHTS")
    with pytest.raises(Unauthenticated) as challenged:
        Answer(401, {"error": "invalid_client", "error_description": "no"}).checked()
    assert challenged.value.reason == "INVALID_CLIENT"
