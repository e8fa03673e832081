"""Key rings: what is refused, and that keys never show."""

import base64
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from argy.base.crypto import (
    KeyRing,
    SecretFile,
    hkdf_sha256,
    open_to_others,
    read_secret,
    write_secret,
)
from argy.base.errors import FailedPrecondition, InvalidArgument


def text(byte: int, size: int = 32) -> str:
    return base64.b64encode(bytes([byte]) * size).decode()


def written(path: Path, content: object) -> Path:
    write_secret(
        path, content.encode() if isinstance(content, str) else json.dumps(content).encode()
    )
    return path


def test_hkdf_is_that_of_rfc_5869() -> None:
    """Appendix A.1."""
    derived = hkdf_sha256(
        b"\x0b" * 22, salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA)), length=42
    )
    assert derived == bytes.fromhex(
        "3cb25f25 faacd57a 90434f64 d0362f2a 2d2d0a90 cf1a5a4c "
        "5db02d56 ecc4c5bf 34007208 d5b88718 5865"
    )


def test_a_ring_is_saved_for_its_owner_alone_and_read_back(tmp_path: Path) -> None:
    ring = KeyRing.generate("k1").rotated("k2")
    path = tmp_path / "ring.json"
    ring.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert KeyRing.load(path) == ring
    assert [file.name for file in tmp_path.iterdir()] == ["ring.json"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ("[" * 60_000, "not JSON"),
        ({"keys": {"k1": text(1)}}, "not a key ring"),
        ({"signing": "k1", "keys": []}, "not a key ring"),
        ({"signing": "k2", "keys": {"k1": text(1)}}, "which it does not hold"),
        ({"signing": "k1", "keys": {"k1": text(1, 31)}}, "32 bytes"),
        ({"signing": "k1", "keys": {"k1": text(1), "k2": text(1)}}, "the same key"),
        ({"signing": "K!", "keys": {"K!": text(1)}}, "key id"),
        ({"signing": "k1", "keys": {"k1": "*" * 44}}, "not a key ring"),
        ({"signing": "k1", "keys": {"k1": "\u212a" * 44}}, "not a key ring"),
    ],
)
def test_what_is_no_ring_is_refused(tmp_path: Path, content: object, told: str) -> None:
    with pytest.raises(InvalidArgument, match=told) as refused:
        KeyRing.load(written(tmp_path / "ring.json", content))
    assert text(1) not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_secret_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "ring.json"
    KeyRing.generate().save(path)
    path.chmod(mode)
    with pytest.raises(FailedPrecondition, match="chmod 600"):
        KeyRing.load(path)


@pytest.mark.parametrize(
    ("mode", "uid", "gid", "is_open"),
    [
        (0o600, 1_000, 1_000, False),
        (0o640, 1_000, 1_000, True),  # its owner's group may have other members
        (0o440, 0, 2_000, False),  # as Kubernetes mounts it with fsGroup 2000
        (0o640, 0, 2_000, False),
        (0o660, 0, 2_000, True),
        (0o444, 0, 2_000, True),
        (0o440, 0, 3_000, True),  # a group that is none of the process's
    ],
)
def test_a_group_of_the_process_may_read_what_root_owns(
    mode: int, uid: int, gid: int, is_open: bool
) -> None:
    assert open_to_others(mode, uid, gid, me=1_000, groups={1_000, 2_000}) is is_open
    assert open_to_others(0o640, 0, 0, me=0, groups={0})


def test_a_missing_or_huge_secret_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="can't be read"):
        read_secret(tmp_path / "none")
    with pytest.raises(FailedPrecondition, match="larger"):
        read_secret(written(tmp_path / "huge", "x" * 70_000))


def test_a_secret_of_another_user_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "ring.json", "planted")
    with pytest.raises(FailedPrecondition) as refused:
        read_secret(path, owners=(4_242,))
    assert refused.value.reason == "SECRET_OF_ANOTHER"
    assert "planted" not in str(refused.value)
    assert read_secret(path, owners=(4_242, os.geteuid())) == b"planted"


def test_another_users_link_to_a_secret_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "ring.json", "mine")
    path = tmp_path / "link.json"
    path.symlink_to("ring.json")
    owners = (4_242,)
    if os.geteuid() == 0:
        # Only root can give the link away, and leave its target.
        os.chown(path, 4_242, -1, follow_symlinks=False)
        owners = (0,)
    with pytest.raises(FailedPrecondition) as refused:
        read_secret(path, owners=owners)
    assert refused.value.reason == "SECRET_OF_ANOTHER"


def test_a_mounted_secret_is_read_through_its_links(tmp_path: Path) -> None:
    """As Kubernetes mounts a Secret: a link to a link that is swapped when the Secret changes."""
    data = tmp_path / "..2026_01_01"
    data.mkdir()
    written(data / "ring.json", "mounted")
    (tmp_path / "..data").symlink_to(data.name)
    path = tmp_path / "ring.json"
    path.symlink_to("..data/ring.json")
    assert read_secret(path) == b"mounted"


def test_a_secret_is_written_through_links_which_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "keys" / "real.json", tmp_path / "link.json"
    target.parent.mkdir()
    link.symlink_to(target)
    for content in (b"first", b"second"):
        write_secret(link, content)
        assert (link.is_symlink(), target.read_bytes()) == (True, content)
    assert target.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in target.parent.iterdir()] == ["real.json"]


def test_a_pipe_gets_the_secret_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reader:
        read = reader.submit(pipe.read_bytes)
        write_secret(pipe, b"secret")
        assert read.result() == b"secret"
    assert pipe.is_fifo()


def test_dev_stdout_is_written_and_not_replaced(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path\nfrom argy.base.crypto import write_secret\n"
        "write_secret(Path('/dev/stdout'), b'secret\\n')\nprint('then this')\n"
    )
    out = tmp_path / "out"
    with out.open("wb") as file:
        subprocess.run([sys.executable, "-c", script], stdout=file, check=True)
    assert out.read_text() == "secret\nthen this\n"
    assert Path("/dev/stdout").is_symlink()


def test_what_can_not_be_written_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    for path in (tmp_path / "none" / "file", tmp_path, Path("/dev/full")):
        with pytest.raises(FailedPrecondition, match="can't be written") as refused:
            write_secret(path, b"x")
        assert refused.value.reason == "SECRET_UNWRITABLE"
    with SecretFile(tmp_path / "begun"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_keys_do_not_show(tmp_path: Path) -> None:
    ring = KeyRing("k1", {"k1": b"A" * 32})
    assert "AAAA" not in repr(ring) + str(ring)


def test_the_signing_key_can_not_be_retired_and_ids_are_not_reused() -> None:
    ring = KeyRing.generate("k1").rotated("k2")
    assert ring.signing == "k2"
    with pytest.raises(FailedPrecondition):
        ring.retired("k2")
    with pytest.raises(InvalidArgument):
        ring.rotated("k1")
    with pytest.raises(InvalidArgument):
        ring.retired("k9")
    assert set(ring.retired("k1").keys) == {"k2"}
