"""A policy as one signed object: deterministic bytes, and nothing loads that was not signed as is.

The payload is an uncompressed ustar archive (POSIX.1-1988) in a DSSE envelope. Its first member is
``manifest.json``, canonical JSON::

    {"commit": "<git commit or empty>", "commit_time_s": 0, "files": [{"path": "model.conf",
     "sha256": "<64 hexadecimal digits>", "size": 1}], "format": 1, "policy_revision": "<64>"}

then each file that it names, in order of their names. Owner, mode and times are fixed, so every
policy has exactly one spelling: the reader makes each header anew and refuses any other bytes.
A bundle of which the authors are known is of format 2, which has ``"authors": ["<e-mail>", …]`` as
well, sorted and in lower case: who wrote what it changes, as their commits say. Readers refuse
formats that they don't know; what is added later gets another number.
"""

import hashlib
import json
import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from argy.base.dsse import MAX_ENVELOPE, SigningKeys, TrustedKeys, seal, unseal
from argy.base.errors import InvalidArgument
from argy.policy.files import PolicyFiles
from argy.policy.loader import MAX_FILE_BYTES, MAX_FILES, parse_policy
from argy.policy.rules import PolicySource

PAYLOAD_TYPE: Final = "application/vnd.argy.policy-bundle.v1+tar"
FORMAT: Final = 1
FORMAT_WITH_AUTHORS: Final = 2
MAX_AUTHORS: Final = 64
MAX_PAYLOAD: Final = (MAX_ENVELOPE - 4096) * 3 // 4
"""Bytes of an archive whose envelope (base64) is still within its own bound."""
MAX_DEPTH: Final = 8
"""Folders in a name, the file included."""
MAX_NAME: Final = 200

_BLOCK: Final = 512
_MANIFEST: Final = "manifest.json"
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_COMMIT: Final = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})?")
_KEYS: Final = frozenset({"commit", "commit_time_s", "files", "format", "policy_revision"})
_KEYS_OF: Final = {FORMAT: _KEYS, FORMAT_WITH_AUTHORS: _KEYS | {"authors"}}
_AUTHOR: Final = re.compile(r"[^\s<>A-Z]{1,254}")
_FILE_KEYS: Final = frozenset({"path", "sha256", "size"})
_MAX_TIME_S: Final = 253_402_300_799  # the last second of 9999


class BundleError(InvalidArgument):
    """A bundle that is signed, and still is none that we load."""

    default_reason: ClassVar[str] = "BUNDLE_INVALID"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself; ``files`` maps each path to its size and SHA-256."""

    commit: str
    commit_time_s: int
    policy_revision: str
    files: Mapping[str, tuple[int, str]]
    authors: tuple[str, ...] = ()
    """E-mail addresses of who wrote it, sorted; empty when that is not known."""

    def to_json(self) -> bytes:
        """Canonical JSON."""
        authors = {"authors": self.authors} if self.authors else {}
        return _canonical(
            {
                **authors,
                "format": FORMAT_WITH_AUTHORS if authors else FORMAT,
                "commit": self.commit,
                "commit_time_s": self.commit_time_s,
                "policy_revision": self.policy_revision,
                "files": [
                    {"path": path, "size": size, "sha256": digest}
                    for path, (size, digest) in sorted(self.files.items())
                ],
            }
        )


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle with the policy in it."""

    digest: str
    """SHA-256 of the payload, 64 hexadecimal digits."""
    manifest: Manifest
    files: Mapping[str, str] = field(repr=False)
    """Every file's text by its path, sorted."""
    source: PolicySource = field(repr=False)

    def to_files(self) -> PolicyFiles:
        """The files as a folder or a git revision would give them."""
        name = f"bundle {self.digest[:12]}"
        about = self.manifest
        return PolicyFiles(self.files, name, about.commit, about.commit_time_s, about.authors)


def build_bundle(files: PolicyFiles) -> bytes:
    """The archive of a policy; the same files and commit give the same bytes, everywhere.

    Raises:
        PolicyError: for a policy that does not load.
        BundleError: for a name or a size that no bundle has.
    """
    source = parse_policy(dict(files.files))
    data = {name: files.files[name].encode() for name in sorted(files.files)}
    manifest = Manifest(
        commit=files.commit,
        commit_time_s=files.commit_time_s,
        policy_revision=source.revision,
        files={name: (len(raw), _sha256(raw)) for name, raw in data.items()},
        authors=tuple(sorted(files.authors)),
    )
    _check_manifest(manifest)
    members = [(_MANIFEST, manifest.to_json()), *data.items()]
    payload = b"".join(_member(name, raw) for name, raw in members) + bytes(2 * _BLOCK)
    if len(payload) > MAX_PAYLOAD:
        raise BundleError(
            f"the bundle has {len(payload)} bytes, more than {MAX_PAYLOAD}: use roles and globs",
            reason="BUNDLE_TOO_LARGE",
        )
    return payload


def sign_bundle(payload: bytes, keys: SigningKeys) -> bytes:
    """The envelope of an archive that ``build_bundle`` made."""
    return seal(payload, payload_type=PAYLOAD_TYPE, keys=keys)


def open_bundle(envelope: bytes, trusted: TrustedKeys) -> Bundle:
    """Verify an envelope, then read the policy in it. Nothing is parsed before it is verified.

    Raises:
        UntrustedSignature: unsigned, altered, or signed by nobody in ``trusted``.
        BundleError: signed, and not an archive as ``build_bundle`` makes it.
        PolicyError: an archive of a policy that does not load.
    """
    payload = unseal(envelope, payload_type=PAYLOAD_TYPE, keys=trusted)
    return read_bundle(payload)


def read_bundle(payload: bytes) -> Bundle:
    """The bundle of an archive that was verified already; raises as ``open_bundle``."""
    if len(payload) > MAX_PAYLOAD:
        raise BundleError("the bundle is too large", reason="BUNDLE_TOO_LARGE")
    members = _members(payload)
    name, raw = next(members, ("", b""))
    if name != _MANIFEST:
        raise _broken("the manifest is not its first file")
    manifest = _parse_manifest(raw)
    _check_manifest(manifest)
    files: dict[str, str] = {}
    for name, raw in members:
        # Refused at the first file too many, before its text is looked at.
        if name in files or (len(raw), _sha256(raw)) != manifest.files.get(name):
            raise _broken(f"{name} is not as the manifest says")
        if files and name < next(reversed(files)):
            raise _broken(f"{name} is out of order")
        try:
            files[name] = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise _broken(f"{name} is not UTF-8") from None
    if files.keys() != manifest.files.keys():
        raise _broken("a file of the manifest is missing")
    source = parse_policy(dict(files))
    if source.revision != manifest.policy_revision:
        raise _broken("the policy's revision is not as the manifest says")
    return Bundle(_sha256(payload), manifest, files, source)


def digest_of(payload: bytes) -> str:
    """The digest that names a bundle: SHA-256 of its payload."""
    return _sha256(payload)


def _members(payload: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of each member; the archive ends in exactly two empty blocks."""
    at, count = 0, 0
    while (header := payload[at : at + _BLOCK]) != bytes(_BLOCK):
        count += 1
        if count > MAX_FILES + 1:
            raise _broken(f"more than {MAX_FILES} files")
        try:
            member = tarfile.TarInfo.frombuf(header, "ascii", "strict")
            name, size = member.name, member.size
            canonical = _header(name, size) if _NAME.fullmatch(name) else b""
        except (tarfile.TarError, ValueError):
            raise _broken(f"no member begins at byte {at}") from None
        # Links, devices, folders, owners, modes, times and longer names all differ here.
        if header != canonical:
            raise _broken(f"the member at byte {at} is no plain file of a bundle")
        start = at + _BLOCK
        end = start + size
        at = start + -(-size // _BLOCK) * _BLOCK
        if at > len(payload) or any(payload[end:at]):
            raise _broken(f"{name} does not end where it should")
        yield name, payload[start:end]
    if payload[at:] != bytes(2 * _BLOCK):
        raise _broken("something follows the last file")


def _parse_manifest(raw: bytes) -> Manifest:
    try:
        value: Any = json.loads(raw)
        if value.keys() != _KEYS_OF.get(value.get("format")):
            raise BundleError(
                f"the bundle's format is none of {FORMAT} and {FORMAT_WITH_AUTHORS}: use a newer "
                "server",
                reason="BUNDLE_FORMAT_UNKNOWN",
            )
        if any(entry.keys() != _FILE_KEYS for entry in value["files"]):
            raise _broken("the manifest has unknown fields")
        manifest = Manifest(
            commit=value["commit"],
            commit_time_s=value["commit_time_s"],
            policy_revision=value["policy_revision"],
            files={entry["path"]: (entry["size"], entry["sha256"]) for entry in value["files"]},
            authors=tuple(value.get("authors", ())),
        )
        if manifest.to_json() != raw:
            raise _broken("the manifest is not canonical JSON")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _broken("the manifest can't be read") from None
    return manifest


def _check_manifest(manifest: Manifest) -> None:
    """Hold what the manifest says to the bounds of every bundle."""
    if len(manifest.files) > MAX_FILES:
        raise _broken(f"more than {MAX_FILES} files")
    if not (isinstance(manifest.commit, str) and _COMMIT.fullmatch(manifest.commit)):
        raise _broken("the commit is no git commit")
    if not _whole(manifest.commit_time_s, _MAX_TIME_S):
        raise _broken("the commit's time is out of range")
    if bool(manifest.commit) != bool(manifest.commit_time_s):
        raise _broken("a commit has a time, and nothing else has")
    if not _is_digest(manifest.policy_revision):
        raise _broken("the policy's revision is no SHA-256")
    authors = manifest.authors
    if len(authors) > MAX_AUTHORS:
        raise _broken(f"more than {MAX_AUTHORS} authors: propose what fewer people wrote")
    if not all(isinstance(one, str) and _AUTHOR.fullmatch(one) for one in authors):
        raise _broken("an author is no address")
    if list(authors) != sorted(set(authors)):
        raise _broken("the authors are not in order")
    for name, (size, digest) in manifest.files.items():
        if not _NAME.fullmatch(name) or len(name) > MAX_NAME or name.count("/") >= MAX_DEPTH:
            raise _broken(f"{name[:MAX_NAME]!r} is no name of a policy's file")
        if name == _MANIFEST:
            raise _broken(f"{_MANIFEST} is the bundle's own")
        if not _whole(size, MAX_FILE_BYTES) or not _is_digest(digest):
            raise _broken(f"{name} has an impossible size or digest")
        _header(name, size)


def _member(name: str, raw: bytes) -> bytes:
    return _header(name, len(raw)) + raw + bytes(-len(raw) % _BLOCK)


def _header(name: str, size: int) -> bytes:
    """The one header that a file of this name and size has."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    try:
        return member.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")
    except ValueError:
        raise _broken(f"{name[:MAX_NAME]!r} is too long for an archive") from None


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _whole(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _broken(what: str) -> BundleError:
    return BundleError(f"this is no policy bundle: {what}")
