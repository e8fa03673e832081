"""Which certificates prove an authenticator's model, and which are roots that a tenant may name."""

from typing import Any
from uuid import UUID

import attestation
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from argy.authn.passkeys.attestation import MAX_ROOT, check_attestation, read_roots
from argy.base.clock import SystemClock
from argy.base.errors import PermissionDenied

MODEL = UUID(int=7)
DAY_MS = 86_400_000


def reason(x5c: Any, roots: list[str], *, fmt: str = "packed", aaguid: UUID = MODEL) -> str:
    """Why a chain is refused; empty when it is accepted."""
    try:
        check_attestation(fmt=fmt, x5c=x5c, aaguid=aaguid, roots=roots)
    except PermissionDenied as error:
        return error.reason
    return ""


def read(*texts: str, days: int = 0) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    roots, wrong = read_roots(texts, now_ms=SystemClock().now_ms() + days * DAY_MS)
    return roots, [(violation.field, violation.description) for violation in wrong]


@pytest.fixture(scope="module")
def root() -> attestation.Certified:
    return attestation.authority()


def test_a_chain_to_a_root_is_accepted_with_or_without_what_is_between(root: Any) -> None:
    between = attestation.certify("Batch", root, ca=True)
    direct = attestation.model_certificate(root, MODEL.bytes)
    below = attestation.model_certificate(between, MODEL.bytes)
    other = attestation.authority("Other")
    assert reason([direct.der], [root.pem]) == ""
    assert reason([direct.der], [other.pem, root.pem]) == ""
    assert reason([below.der, between.der], [root.pem]) == ""
    assert reason([below.der, between.der, root.der], [root.pem]) == ""
    assert reason([below.der], [root.pem]) == "ATTESTATION_UNTRUSTED"


def test_without_roots_nothing_is_trusted(root: Any) -> None:
    """The library would take any chain then."""
    leaf = attestation.model_certificate(root, MODEL.bytes)
    assert reason([leaf.der], []) == "ATTESTATION_UNTRUSTED"


def test_an_unknown_root_is_refused_whatever_it_is_called(root: Any) -> None:
    stranger = attestation.authority()
    leaf = attestation.model_certificate(stranger, MODEL.bytes)
    assert stranger.certificate.subject == root.certificate.subject
    assert reason([leaf.der], [root.pem]) == "ATTESTATION_UNTRUSTED"
    assert reason([leaf.der, stranger.der], [root.pem]) == "ATTESTATION_UNTRUSTED"


@pytest.mark.parametrize("days", [(-9, -1), (1, 9)], ids=["expired", "not_yet"])
def test_a_certificate_out_of_its_time_is_refused(root: Any, days: tuple[int, int]) -> None:
    leaf = attestation.model_certificate(root, MODEL.bytes, days=days)
    assert reason([leaf.der], [root.pem]) == "ATTESTATION_UNTRUSTED"


def test_an_authenticator_that_certifies_others_is_refused(root: Any) -> None:
    """A model's own certificate is none of an authority, however it is chained."""
    device = attestation.model_certificate(root, MODEL.bytes)
    forged = attestation.model_certificate(device, MODEL.bytes)
    assert reason([forged.der, device.der], [root.pem]) == "ATTESTATION_UNTRUSTED"


def test_an_authority_in_the_place_of_an_authenticator_is_refused(root: Any) -> None:
    leaf = attestation.model_certificate(root, MODEL.bytes, ca=True)
    assert reason([leaf.der], [root.pem]) == "ATTESTATION_UNTRUSTED"
    assert reason([root.der], [root.pem]) == "ATTESTATION_UNTRUSTED"


def test_a_chain_over_a_digest_with_collisions_is_refused() -> None:
    key: Any = rsa.generate_private_key(65537, 2048)
    root = attestation.authority(key=key)
    leaf = attestation.model_certificate(root, MODEL.bytes)
    assert reason([leaf.der], [root.pem]) == ""
    old = attestation.signed_over_sha1(leaf, key)
    assert reason([old.der], [root.pem]) == "ATTESTATION_UNTRUSTED"
    between = attestation.certify("Batch", root, ca=True)
    below = attestation.model_certificate(between, MODEL.bytes)
    old = attestation.signed_over_sha1(between, key)
    assert reason([below.der, old.der], [root.pem]) == "ATTESTATION_UNTRUSTED"


def test_a_small_rsa_key_vouches_for_nothing(root: Any) -> None:
    small: Any = rsa.generate_private_key(65537, 1024)  # noqa: S505 - the attack
    weak = attestation.authority("Weak Root", key=small)
    named = "policy.passkey_attestation_roots[0]", "must have an RSA key of at least 2048 bits"
    assert read(weak.pem) == ((), [named])
    between = attestation.certify("Batch", root, ca=True, key=small)
    below = attestation.model_certificate(between, MODEL.bytes)
    assert reason([below.der, between.der], [root.pem]) == "ATTESTATION_UNTRUSTED"


def test_a_certificate_of_something_else_of_the_vendor_is_refused(root: Any) -> None:
    leaf = attestation.model_certificate(root, MODEL.bytes, unit="Web Shop")
    assert reason([leaf.der], [root.pem]) == "ATTESTATION_UNTRUSTED"


def test_a_certificate_of_another_model_is_refused(root: Any) -> None:
    leaf = attestation.model_certificate(root, UUID(int=8).bytes)
    assert reason([leaf.der], [root.pem]) == "ATTESTATION_MISMATCH"
    assert reason([leaf.der], [root.pem], fmt="tpm") == "ATTESTATION_MISMATCH"
    critical = attestation.model_certificate(
        root, MODEL.bytes, extensions=[attestation.model_extension(MODEL.bytes, critical=True)]
    )
    assert reason([critical.der], [root.pem]) == "ATTESTATION_UNTRUSTED"
    silent = attestation.model_certificate(root, MODEL.bytes, extensions=[])
    assert reason([silent.der], [root.pem]) == ""


@pytest.mark.parametrize("fmt", ["none", "android-safetynet", "compound", ""])
def test_a_format_that_proves_nothing_is_refused(root: Any, fmt: str) -> None:
    leaf = attestation.model_certificate(root, MODEL.bytes)
    assert reason([leaf.der], [root.pem], fmt=fmt) == "ATTESTATION_REQUIRED"


def test_a_statement_without_certificates_is_refused(root: Any) -> None:
    nothing: tuple[Any, ...] = (None, [], "")
    assert [reason(x5c, [root.pem]) for x5c in nothing] == ["ATTESTATION_REQUIRED"] * 3


def test_certificates_that_are_none_are_refused(root: Any) -> None:
    leaf = attestation.model_certificate(root, MODEL.bytes)
    for chain in (
        [b"\x30\x00"],
        ["text"],
        [7],
        [None],
        [leaf.der, b"junk"],
        [leaf.der[:-9]],
        leaf.der,
        {"0": leaf.der},
        [leaf.der, *[root.der] * 8],
    ):
        assert reason(chain, [root.pem]) == "ATTESTATION_UNTRUSTED", chain


def test_roots_are_kept_in_one_form_and_once(root: Any) -> None:
    other = attestation.authority("Other")
    spaced = "\n".join(["A comment", *root.pem.splitlines(), ""]).replace("\n", "\r\n")
    assert read(root.pem, spaced, other.pem) == ((root.pem, other.pem), [])


def test_what_is_no_root_is_named_with_its_number(root: Any) -> None:
    between = attestation.certify("Batch", root, ca=True)
    forged = attestation.certify("Vendor Root", attestation.authority(), ca=True)
    texts = (
        root.pem,
        "junk",
        root.pem + between.pem,
        root.pem.replace("M", "N", 1),
        attestation.certify("Leaf", None, ca=False).pem,
        between.pem,
        forged.pem,
        attestation.authority(days=(-9, -1)).pem,
        "x" * (MAX_ROOT + 1),
        "ä",
    )
    roots, wrong = read(*texts)
    assert roots == (root.pem,)
    field = "policy.passkey_attestation_roots"
    assert [name for name, _ in wrong] == [f"{field}[{number}]" for number in range(1, 10)]
    told = [description for _, description in wrong]
    assert told[:3] == ["must be one certificate in PEM"] * 3
    assert told[3] == "must be the certificate of an authority (CA)"
    assert (
        told[4:6] == ["must be a root, signed by itself: name the authority above it instead"] * 2
    )
    assert told[6].startswith("expired on 20")
    assert told[7:] == [
        f"must have at most {MAX_ROOT} characters",
        "must be one certificate in PEM",
    ]


def test_a_root_that_begins_later_is_named() -> None:
    later = attestation.authority(days=(2, 9))
    roots, ((field, told),) = read(later.pem)
    assert (roots, field) == ((), "policy.passkey_attestation_roots[0]")
    assert told.startswith("is not valid before 20")
    assert read(later.pem, days=3) == ((later.pem,), [])


def test_a_root_that_expires_is_good_until_then(root: Any) -> None:
    assert read(root.pem, days=364) == ((root.pem,), [])
    assert read(root.pem, days=366)[0] == ()
