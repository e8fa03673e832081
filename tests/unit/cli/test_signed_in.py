"""Where a terminal keeps its tokens."""

import json
import os
import re
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from keyring.backends.fail import Keyring as NoKeyring

from argy.base.errors import FailedPrecondition, InvalidArgument, Unauthenticated
from argy.cli.edge_client import Answer, EdgeClient
from argy.cli.os_keyring import OsKeyring
from argy.cli.os_keyring import locked as keyring_locked
from argy.cli.signed_in import (
    FILE,
    Login,
    config_folder,
    forget,
    forget_secrets,
    load,
    locked,
    save,
    system_vault,
)
from argy.local.ports import free_port

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
            raise keyring_locked()
        return self.held.get(name, "")

    def keep(self, name: str, secret: str) -> None:
        if self.closed:
            raise keyring_locked()
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


def test_a_replaced_login_leaves_nothing_in_the_keyring(tmp_path: Path) -> None:
    drawer = Drawer()
    save(HELD, tmp_path, drawer)
    elsewhere = replace(HELD, tenant="other", refresh_token="another")
    save(elsewhere, tmp_path, drawer)
    forget_secrets(elsewhere, drawer, unless=elsewhere)
    assert load(tmp_path, drawer) == elsewhere
    forget_secrets(HELD, drawer, unless=elsewhere)
    assert load(tmp_path, drawer) == elsewhere
    assert len(drawer.held) == 1


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


@pytest.mark.parametrize(
    ("name", "value"),
    [("expires_at", "soon"), ("expires_at", True), ("access_token", 7), ("edge", ["https://e"])],
)
def test_a_tampered_file_is_refused_before_it_is_used(
    tmp_path: Path, name: str, value: object
) -> None:
    save(HELD, tmp_path, None)
    told = json.loads((tmp_path / FILE).read_text()) | {name: value}
    (tmp_path / FILE).write_text(json.dumps(told))
    with pytest.raises(FailedPrecondition) as refused:
        load(tmp_path, None)
    assert refused.value.reason == "LOGIN_DAMAGED"
    assert "secret" not in str(refused.value)


def test_a_keyring_entry_does_not_lead_tokens_to_another_edge(tmp_path: Path) -> None:
    drawer = Drawer()
    save(HELD, tmp_path, drawer)
    (name,) = drawer.held
    drawer.held[name] = json.dumps(
        {**json.loads(drawer.held[name]), "edge": "https://evil.example.test"}
    )
    assert load(tmp_path, drawer) == HELD
    # Nor does the file: what the keyring holds is for the edge that it names.
    told = json.loads((tmp_path / FILE).read_text()) | {"edge": "https://evil.example.test"}
    (tmp_path / FILE).write_text(json.dumps(told))
    with pytest.raises(Unauthenticated):
        load(tmp_path, drawer)


def test_a_login_that_another_user_put_there_is_refused(tmp_path: Path) -> None:
    save(HELD, tmp_path, None)
    with pytest.raises(FailedPrecondition) as refused:
        load(tmp_path, None, uid=os.geteuid() + 1)
    assert refused.value.reason == "LOGIN_OF_ANOTHER"


def test_a_logout_waits_for_who_is_saving_new_tokens(tmp_path: Path) -> None:
    save(replace(HELD, edge=f"https://127.0.0.1:{free_port()}"), tmp_path, None)
    with locked(tmp_path):
        logout = subprocess.Popen(
            [Path(sys.executable).with_name("argy"), "logout"],
            env={**os.environ, "ARGY_HOME": str(tmp_path)},
            stderr=subprocess.PIPE,
            text=True,
        )
        waiting = re.compile(rf"^\d+: -> FLOCK +ADVISORY +WRITE {logout.pid} ", re.M)
        while not waiting.search(Path("/proc/locks").read_text()):
            assert logout.poll() is None, logout.communicate()
        assert (tmp_path / FILE).exists()
    _, told = logout.communicate(timeout=60)
    assert logout.returncode == 6, told
    assert not (tmp_path / FILE).exists()


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
