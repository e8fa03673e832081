"""A bundle has one spelling, and nothing loads that a trusted key did not sign as it stands."""

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argy.base.dsse import SigningKeys, TrustedKeys, UntrustedSignature, seal
from argy.base.errors import ArgyError
from argy.policy import PolicyError
from argy.policy.bundle import (
    MAX_DEPTH,
    PAYLOAD_TYPE,
    BundleError,
    build_bundle,
    open_bundle,
    read_bundle,
    sign_bundle,
)
from argy.policy.files import PolicyFiles, read_folder

MODEL = (Path(__file__).parents[3] / "policy" / "model.conf").read_text()
RULES = "p, role:PLATFORM_USER, *, project:*, read, allow, true\n"
COMMIT = "5" * 40
FILES = PolicyFiles(
    {"model.conf": MODEL, "roles/a.csv": RULES, "cases/c.yaml": "tenant: acme\ncases: []\n"},
    "a test",
    COMMIT,
    1_790_000_000,
)
KEYS = SigningKeys.generate("author")
TRUSTED = KEYS.public()
PAYLOAD = build_bundle(FILES)
ENVELOPE = sign_bundle(PAYLOAD, KEYS)


def test_what_is_opened_is_what_was_built() -> None:
    bundle = open_bundle(ENVELOPE, TRUSTED)
    assert dict(bundle.files) == dict(FILES.files)
    assert bundle.manifest.commit == COMMIT
    assert bundle.manifest.commit_time_s == FILES.commit_time_s
    assert bundle.manifest.policy_revision == bundle.source.revision
    assert build_bundle(bundle.to_files()) == PAYLOAD


def test_the_same_files_give_the_same_bytes_in_any_order_and_from_anywhere() -> None:
    shuffled = replace(FILES, files=dict(reversed(list(FILES.files.items()))), name="elsewhere")
    assert build_bundle(shuffled) == PAYLOAD
    assert sign_bundle(build_bundle(shuffled), KEYS) == ENVELOPE
    assert build_bundle(replace(FILES, commit="6" * 40)) != PAYLOAD


def test_any_tar_reads_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(PAYLOAD), mode="r:") as archive:
        members = archive.getmembers()
        names = [member.name for member in members]
        assert names == ["manifest.json", "cases/c.yaml", "model.conf", "roles/a.csv"]
        assert {(m.mtime, m.uid, m.gid, m.mode) for m in members} == {(0, 0, 0, 0o644)}
        first = archive.extractfile("manifest.json")
        assert first is not None
        manifest = json.loads(first.read())
    assert manifest["format"] == 1
    assert manifest["commit"] == COMMIT


def test_a_bundle_tells_who_wrote_it_when_that_is_known() -> None:
    written = replace(FILES, authors=("eva@example.test", "ada@example.test"))
    payload = build_bundle(written)
    bundle = read_bundle(payload)
    assert bundle.manifest.authors == ("ada@example.test", "eva@example.test")
    assert build_bundle(bundle.to_files()) == payload
    assert bundle.digest != read_bundle(PAYLOAD).digest
    raw = bundle.manifest.to_json()
    assert json.loads(raw)["format"] == 2
    # Whoever signs it may not spell the same authors in two ways, nor hide one of them.
    for found, other in (
        (b'"format":2', b'"format":1'),
        (b'"ada@example.test","eva@', b'"eva@example.test","ada@'),
        (b"ada@example.test", b"ADA@example.test"),
        (b"ada@example.test", b"ada example.test"),
        (b"ada@example.test", b"eva@example.test"),
    ):
        assert found in payload
        with pytest.raises(BundleError):
            read_bundle(payload.replace(found, other))


@pytest.mark.parametrize(
    "authors", [("a b",), ("",), tuple(f"a{n:02}@example.test" for n in range(65))]
)
def test_what_is_no_author_or_too_many_makes_no_bundle(authors: tuple[str, ...]) -> None:
    with pytest.raises(BundleError):
        build_bundle(replace(FILES, authors=authors))


def test_the_products_policy_is_a_bundle() -> None:
    files = read_folder(Path(__file__).parents[3] / "policy")
    bundle = open_bundle(sign_bundle(build_bundle(files), KEYS), TRUSTED)
    assert dict(bundle.files) == dict(files.files)


def test_an_unsigned_bundle_is_refused() -> None:
    envelope = json.loads(ENVELOPE)
    envelope["signatures"] = []
    with pytest.raises(UntrustedSignature):
        open_bundle(json.dumps(envelope).encode(), TRUSTED)
    envelope["signatures"] = [{"sig": json.loads(ENVELOPE)["signatures"][0]["sig"]}]
    with pytest.raises(UntrustedSignature):
        open_bundle(json.dumps(envelope).encode(), TRUSTED)


def test_a_bundle_of_another_key_is_refused_also_under_a_trusted_name() -> None:
    stranger = SigningKeys.generate("author")
    with pytest.raises(UntrustedSignature):
        open_bundle(sign_bundle(PAYLOAD, stranger), TRUSTED)


def test_nothing_is_trusted_without_keys() -> None:
    with pytest.raises(UntrustedSignature):
        open_bundle(ENVELOPE, TrustedKeys({}))


def test_a_signature_of_another_kind_of_statement_is_refused() -> None:
    other = seal(PAYLOAD, payload_type="application/vnd.argy.other", keys=KEYS)
    with pytest.raises(UntrustedSignature) as refused:
        open_bundle(other, TRUSTED)
    assert refused.value.reason == "WRONG_PAYLOAD_TYPE"


@given(st.integers(0, len(ENVELOPE) - 1), st.integers(1, 255))
def test_an_envelope_with_any_byte_altered_never_loads(at: int, flip: int) -> None:
    altered = bytearray(ENVELOPE)
    altered[at] ^= flip
    try:
        bundle = open_bundle(bytes(altered), TRUSTED)
    except ArgyError:
        return
    # Base64 and JSON have spare bits and spellings; what they say must be the very same.
    assert bundle.digest == open_bundle(ENVELOPE, TRUSTED).digest


@given(st.integers(0, len(PAYLOAD) - 1), st.integers(1, 255))
def test_an_archive_with_any_byte_altered_is_refused_or_another_bundle(at: int, flip: int) -> None:
    altered = bytearray(PAYLOAD)
    altered[at] ^= flip
    try:
        bundle = read_bundle(bytes(altered))
    except (BundleError, PolicyError):
        return
    # Only what the archive says of its commit can change alone; that is another bundle then.
    assert bundle.digest != open_bundle(ENVELOPE, TRUSTED).digest
    assert dict(bundle.files) == dict(FILES.files)
    assert build_bundle(bundle.to_files()) == bytes(altered)


@given(st.integers(0, len(PAYLOAD) - 1))
def test_a_cut_archive_never_loads(length: int) -> None:
    with pytest.raises(BundleError):
        read_bundle(PAYLOAD[:length])


@given(st.binary(max_size=4096))
def test_arbitrary_bytes_are_no_bundle(data: bytes) -> None:
    with pytest.raises(BundleError):
        read_bundle(data)
    with pytest.raises(ArgyError):
        open_bundle(data, TRUSTED)


def archive(alter: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> bytes:
    """The archive of ``FILES`` after ``alter`` changed its members."""
    with tarfile.open(fileobj=io.BytesIO(PAYLOAD), mode="r:") as read:
        members = []
        for member in read.getmembers():
            file = read.extractfile(member)
            assert file is not None
            members.append((member, file.read()))
    alter(members)
    blocks = b""
    for member, raw in members:
        blocks += member.tobuf(tarfile.USTAR_FORMAT, "utf-8") + raw + bytes(-len(raw) % 512)
    return blocks + bytes(1024)


def _link(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    link = tarfile.TarInfo("roles/b.csv")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    members.append((link, b""))


def _folder(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    folder = tarfile.TarInfo("roles")
    folder.type = tarfile.DIRTYPE
    members.append((folder, b""))


def _extra(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append((_plain("roles/z.csv", RULES.encode()), RULES.encode()))


def _absolute(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append((_plain("/etc/x.csv", b""), b""))


def _upwards(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append((_plain("roles/../x.csv", b""), b""))


def _owner(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[2][0].uid = 7


def _time(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[2][0].mtime = 7


def _setuid(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[2][0].mode = 0o4755


def _twice(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append(members[-1])


def _missing(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.pop()


def _disorder(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[1:] = reversed(members[1:])


def _manifest_last(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append(members.pop(0))


def _longer(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    text = RULES.encode() + b"# more\n"
    members[3] = (_plain("roles/a.csv", text), text)


def _plain(name: str, raw: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = len(raw)
    return member


ATTACKS = (
    _link, _folder, _extra, _absolute, _upwards, _owner, _time, _setuid, _twice, _missing,
    _disorder, _manifest_last, _longer,
)  # fmt: skip


@pytest.mark.parametrize("alter", ATTACKS, ids=lambda attack: attack.__name__[1:])
def test_a_signed_archive_that_is_not_canonical_is_refused(
    alter: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None],
) -> None:
    envelope = sign_bundle(archive(alter), KEYS)
    with pytest.raises(BundleError):
        open_bundle(envelope, TRUSTED)


def test_the_attacks_alter_what_loads_otherwise() -> None:
    assert archive(lambda members: None) == PAYLOAD


@pytest.mark.parametrize(
    "alter",
    [
        {"format": 2},
        {"commit": "main"},
        {"commit_time_s": -1},
        {"commit_time_s": True},
        {"commit": ""},
        {"policy_revision": "0" * 64},
        {"unknown": 1},
        {"files": []},
        {"files": None},
    ],
    ids=str,
)
def test_a_manifest_that_says_something_else_is_refused(alter: dict[str, object]) -> None:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        manifest = json.loads(members[0][1]) | alter
        raw = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
        members[0] = (_plain("manifest.json", raw), raw)

    with pytest.raises(BundleError):
        read_bundle(archive(change))


def test_a_manifest_has_one_spelling() -> None:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        raw = members[0][1].replace(b'":', b'": ')
        members[0] = (_plain("manifest.json", raw), raw)

    with pytest.raises(BundleError):
        read_bundle(archive(change))


@pytest.mark.parametrize("name", ["/a.csv", "../a.csv", "a//b.csv", ".git/a.csv", "a\0.csv", ""])
def test_a_name_that_could_lead_elsewhere_makes_no_bundle(name: str) -> None:
    with pytest.raises((BundleError, PolicyError)):
        build_bundle(replace(FILES, files={**FILES.files, name: ""}))


def test_depth_and_size_are_bounded() -> None:
    deep = "cases/" + "d/" * MAX_DEPTH + "c.yaml"
    with pytest.raises(BundleError):
        build_bundle(replace(FILES, files={**FILES.files, deep: "tenant: acme\ncases: []\n"}))
    large = "# " + "x" * (3 * 1024 * 1024) + "\n"
    with pytest.raises(BundleError) as refused:
        build_bundle(replace(FILES, files={**FILES.files, "roles/a.csv": RULES + large}))
    assert refused.value.reason == "BUNDLE_TOO_LARGE"


def test_a_policy_that_does_not_load_is_neither_built_nor_opened() -> None:
    broken = {**FILES.files, "roles/a.csv": RULES.replace("allow", "Allow")}
    with pytest.raises(PolicyError):
        build_bundle(replace(FILES, files=broken))


def test_the_payload_type_is_part_of_the_format() -> None:
    assert json.loads(ENVELOPE)["payloadType"] == PAYLOAD_TYPE
