"""The agent's settings come from its file and from the environment, which goes before."""

from pathlib import Path

import pytest

from argy.agentd.config import read_config
from argy.agentd.sandbox.backend import visible
from argy.base.errors import InvalidArgument


def test_file_and_environment(tmp_path: Path) -> None:
    file = tmp_path / "agentd.toml"
    file.write_text('backend = "landlock"\nworkspaces = "/w"\nreadable = ["/usr", "/etc"]\n')
    config = read_config({"ARGY_AGENT_WORKSPACES": "/x", "ARGY_AUTHZ_OTHER": "1"}, file)
    backend = config.sandbox(file=file)
    assert (backend.name, backend.workspaces.root) == ("landlock", Path("/x"))
    assert backend.readable == ("/usr", "/etc")
    assert str(file) in backend.hidden


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("backnd = 'x'", "ARGY_AGENT_BACKND"),
        ("unsafe_host_confirmed = 'maybe'", "true or false"),
        ("=", "can't be read"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "agentd.toml"
    file.write_text(text)
    with pytest.raises(InvalidArgument, match=told):
        read_config({}, file)


@pytest.mark.parametrize(
    "env", [{"ARGY_AGENT_BACKEND": "docker"}, {"ARGY_AGENT_READABLE": "usr:/etc"}]
)
def test_what_can_not_be(env: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument, match="must be"):
        read_config(env, None).sandbox()


def test_a_hidden_path_is_left_out_of_what_is_visible(tmp_path: Path) -> None:
    for name in ("etc/argy/key", "etc/hosts", "etc/ssl/ca"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "etc/alias").symlink_to("argy")
    env = {
        "ARGY_AGENT_READABLE": f"{tmp_path}/etc:/nonexistent",
        "ARGY_AGENT_HIDDEN": f"{tmp_path}/etc/argy",
    }
    found = visible(read_config(env, None).sandbox())
    assert found == [f"{tmp_path}/etc/hosts", f"{tmp_path}/etc/ssl"]
