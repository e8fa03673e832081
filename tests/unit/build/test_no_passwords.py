"""There is no password anywhere: no table, field, RPC or form holds, takes or asks for one."""

import re
from pathlib import Path
from typing import Final

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor

from argy.api.authn.v1 import (
    credential_pb2,
    device_pb2,
    magic_link_pb2,
    passkey_pb2,
    session_pb2,
    sign_in_policy_pb2,
    token_pb2,
)

CHECKOUT: Final = Path(__file__).resolve().parents[3]
PROTOS: Final = CHECKOUT / "protos" / "argy"
MIGRATIONS: Final = CHECKOUT / "services" / "argy" / "store" / "migrations"
EDGE: Final = CHECKOUT / "services" / "argy" / "edge"
WORD: Final = re.compile(r"pass_?(word|phrase|code\b|wd)|\bpwd\b|_pwd|\bpin(_?code)?\b", re.I)
FORM: Final = re.compile(
    r"type\s*=\s*[\"']?password|autocomplete\s*=\s*[\"'][^\"']*password|name\s*=\s*[\"']?passw",
    re.I,
)
LOADED: Final = (
    credential_pb2,
    device_pb2,
    magic_link_pb2,
    passkey_pb2,
    session_pb2,
    sign_in_policy_pb2,
    token_pb2,
)


def without_comments(text: str, comment: str) -> str:
    return "\n".join(line.split(comment, 1)[0] for line in text.splitlines())


@pytest.mark.parametrize(
    "planted",
    [
        "password text NOT NULL",
        "password_hash bytea",
        "string passphrase = 1;",
        "passwd",
        "user_pwd",
    ],
)
def test_the_scan_would_find_one(planted: str) -> None:
    assert WORD.search(planted)


def test_the_scan_passes_what_is_no_password() -> None:
    assert not WORD.search("passkey passkeys session_secret pinned spinning pass")
    assert FORM.search('<input type="password">')
    assert FORM.search('<input autocomplete="current-password">')
    assert not FORM.search('<input type="text" autocomplete="username webauthn">')


def test_no_table_or_column_is_one() -> None:
    files = sorted(MIGRATIONS.glob("*.sql"))
    assert len(files) >= 9
    for file in files:
        assert not WORD.search(without_comments(file.read_text(), "--")), file.name


def test_no_message_field_or_rpc_is_one() -> None:
    files = sorted(PROTOS.rglob("*.proto"))
    assert len(files) >= 12
    for file in files:
        assert not WORD.search(without_comments(file.read_text(), "//")), file.name


def names_in(file: FileDescriptor) -> list[str]:
    names = [method.full_name for s in file.services_by_name.values() for method in s.methods]
    waiting: list[Descriptor] = list(file.message_types_by_name.values())
    while waiting:
        message = waiting.pop()
        names += [field.full_name for field in message.fields]
        waiting += message.nested_types
    return names


def test_what_is_served_names_none() -> None:
    names = [name for module in LOADED for name in names_in(module.DESCRIPTOR)]
    assert len(names) > 100
    assert [name for name in names if WORD.search(name)] == []


def test_no_page_or_script_asks_for_one() -> None:
    files = [*EDGE.rglob("*.html"), *EDGE.rglob("*.js")]
    assert len(files) >= 15
    for file in files:
        assert not FORM.search(file.read_text()), file.name


def test_no_page_reads_a_field_of_that_name() -> None:
    read = re.compile(r"""(fields?|form|body|document)(\.get)?[\[(]\s*["']passw""")
    for file in EDGE.rglob("*.py"):
        assert not read.search(file.read_text()), file.name
