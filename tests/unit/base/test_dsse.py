"""Signed envelopes: what was signed verifies, and nothing else does."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from argy.base.dsse import (
    MAX_ENVELOPE,
    SigningKeys,
    TrustedKeys,
    UntrustedSignature,
    joined,
    owners_of,
    seal,
    unseal,
)
from argy.base.errors import ArgyError, FailedPrecondition, InvalidArgument

KEYS = SigningKeys.generate("p1")
KIND = "application/vnd.argy.test"


def sealed(payload: bytes = b"the payload", kind: str = KIND) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(seal(payload, payload_type=kind, keys=KEYS))
    return made


def opened(envelope: object, keys: TrustedKeys | None = None) -> bytes:
    return unseal(json.dumps(envelope).encode(), payload_type=KIND, keys=keys or KEYS.public())


def test_what_was_signed_comes_back_and_the_bytes_are_the_same_each_time() -> None:
    assert opened(sealed()) == b"the payload"
    assert seal(b"x", payload_type=KIND, keys=KEYS) == seal(b"x", payload_type=KIND, keys=KEYS)


def test_the_signature_is_that_of_the_published_encoding() -> None:
    # The protocol's own example of the encoding: https://github.com/secure-systems-lab/dsse
    from argy.base.dsse import _encoding

    wanted = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert _encoding("http://example.com/HelloWorld", b"hello world") == wanted


def test_an_altered_payload_is_refused() -> None:
    envelope = sealed() | {"payload": base64.b64encode(b"another").decode()}
    with pytest.raises(UntrustedSignature) as refused:
        opened(envelope)
    assert refused.value.reason == "SIGNATURE_INVALID"


@pytest.mark.parametrize(
    "signatures",
    [[], [{"sig": "AAAA"}], [{"keyid": "", "sig": "AAAA"}], [{"keyid": "p9", "sig": "AAAA"}]],
)
def test_unsigned_or_without_a_known_key_id_is_refused(signatures: list[object]) -> None:
    with pytest.raises(UntrustedSignature) as refused:
        opened(sealed() | {"signatures": signatures})
    assert refused.value.reason == "SIGNATURE_UNTRUSTED"


def test_a_statement_of_another_kind_is_refused() -> None:
    with pytest.raises(UntrustedSignature) as refused:
        opened(sealed(kind="application/vnd.argy.other"))
    assert refused.value.reason == "WRONG_PAYLOAD_TYPE"
    # Nor does renaming the kind help: it is signed.
    with pytest.raises(UntrustedSignature):
        opened(sealed(kind="application/vnd.argy.other") | {"payloadType": KIND})


def test_another_key_under_the_same_id_is_refused() -> None:
    with pytest.raises(UntrustedSignature):
        opened(sealed(), SigningKeys.generate("p1").public())


def test_of_two_signatures_under_one_id_either_suffices_and_neither_does_for_a_third() -> None:
    other = SigningKeys.generate("p1")
    first = seal(b"x", payload_type=KIND, keys=KEYS)
    second = seal(b"x", payload_type=KIND, keys=other)
    both = joined(first, second, payload_type=KIND)
    assert joined(both, second, payload_type=KIND) == both
    for keys in (KEYS, other):
        assert unseal(both, payload_type=KIND, keys=keys.public()) == b"x"
    with pytest.raises(UntrustedSignature) as refused:
        unseal(both, payload_type=KIND, keys=SigningKeys.generate("p1").public())
    assert refused.value.reason == "SIGNATURE_INVALID"


def test_signatures_of_other_bytes_or_too_many_are_not_joined() -> None:
    envelope = seal(b"x", payload_type=KIND, keys=KEYS)
    with pytest.raises(InvalidArgument) as refused:
        joined(envelope, seal(b"y", payload_type=KIND, keys=KEYS), payload_type=KIND)
    assert refused.value.reason == "PAYLOADS_DIFFER"
    for _ in range(9):
        more = seal(b"x", payload_type=KIND, keys=SigningKeys.generate("p1"))
        envelope = joined(envelope, more, payload_type=KIND)
    last = seal(b"x", payload_type=KIND, keys=SigningKeys.generate("p1"))
    with pytest.raises(InvalidArgument) as refused:
        joined(envelope, last, payload_type=KIND)
    assert refused.value.reason == "TOO_MANY_SIGNATURES"


def test_whose_keys_have_signed(tmp_path: Path) -> None:
    other = SigningKeys.generate("p2")
    envelope = joined(
        seal(b"x", payload_type=KIND, keys=KEYS),
        seal(b"x", payload_type=KIND, keys=other),
        payload_type=KIND,
    )
    both = KEYS.public() | other.public()
    ada = TrustedKeys(both.keys, {"p1": "ada@example.test"})
    file = tmp_path / "trusted.json"
    file.write_text(json.dumps((ada | TrustedKeys(both.keys, {"p2": "user:eva"})).to_json()))

    def owners(keys: TrustedKeys) -> frozenset[str]:
        return owners_of(envelope, payload_type=KIND, keys=keys)

    assert owners(both) == frozenset()
    assert owners(ada) == {"ada@example.test"}
    assert owners(TrustedKeys.load(file)) == {"ada@example.test", "user:eva"}
    # A key of the same id that signed nothing makes nobody an author.
    stranger = SigningKeys.generate("p1").public()
    assert owners(TrustedKeys(stranger.keys, {"p1": "user:eva"})) == frozenset()


@pytest.mark.parametrize("owners", [{"p1": ""}, {"p1": "eva"}, {"p2": "user:eva"}])
def test_an_owner_is_a_subject_or_an_address_and_of_a_key(owners: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        TrustedKeys(KEYS.public().keys, owners)


def test_without_trusted_keys_nothing_verifies() -> None:
    with pytest.raises(UntrustedSignature):
        opened(sealed(), TrustedKeys({}))


@pytest.mark.parametrize(
    "envelope",
    [
        None,
        [],
        {},
        {"payload": 1, "payloadType": KIND, "signatures": []},
        {"payload": "not base64!", "payloadType": KIND, "signatures": []},
        {"payload": "", "payloadType": KIND, "signatures": {}},
        {"payload": "", "payloadType": KIND, "signatures": [1]},
        {"payload": "", "payloadType": KIND, "signatures": [{"keyid": "p1", "sig": 1}]},
        {"payload": "", "payloadType": KIND, "signatures": [{"keyid": "p1"}] * 11},
    ],
)
def test_what_is_no_envelope_is_refused(envelope: object) -> None:
    with pytest.raises(InvalidArgument):
        opened(envelope)


def test_too_large_an_envelope_is_not_read() -> None:
    with pytest.raises(InvalidArgument) as refused:
        unseal(b" " * (MAX_ENVELOPE + 1), payload_type=KIND, keys=KEYS.public())
    assert refused.value.reason == "ENVELOPE_TOO_LARGE"


def test_trusted_keys_that_anybody_may_exchange_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "trusted.json"
    path.write_text(json.dumps(SigningKeys.generate().public().to_json()))
    path.chmod(0o666)
    with pytest.raises(FailedPrecondition, match="chmod o-w") as refused:
        TrustedKeys.load(path)
    assert refused.value.reason == "TRUST_OPEN"
    path.chmod(0o664)  # a group's: a checkout of the people who sign
    assert TrustedKeys.load(path).keys


def test_public_keys_survive_a_file(tmp_path: Path) -> None:
    file = tmp_path / "trusted.json"
    file.write_text(json.dumps(KEYS.public().to_json()))
    assert opened(sealed(), TrustedKeys.load(file)) == b"the payload"
    for text in ("[]", "{", '{"p1": "AAAA"}', '{"p1": 3}'):
        file.write_text(text)
        with pytest.raises(InvalidArgument):
            TrustedKeys.load(file)
    with pytest.raises(ArgyError):
        TrustedKeys.load(tmp_path / "missing.json")


def test_one_id_for_two_keys_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        _ = KEYS.public() | SigningKeys.generate("p1").public()
