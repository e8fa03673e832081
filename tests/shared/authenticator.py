"""A passkey authenticator in software, for tests and benches: real CBOR, COSE and signatures."""

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Credential:
    """What an authenticator keeps of one passkey."""

    id: bytes
    key: ec.EllipticCurvePrivateKey
    rp_id: str
    user_handle: bytes
    sign_count: int = 0


@dataclass(kw_only=True)
class Authenticator:
    """Makes and uses ES256 passkeys as a security key does, on a page of ``origin``.

    Keyword arguments of ``create`` and ``get`` make it lie.
    """

    origin: str
    aaguid: bytes = bytes(16)
    synced: bool = False
    held: list[Credential] = field(default_factory=list)

    def create(self, options_json: str, **lies: Any) -> str:
        options = json.loads(options_json)
        key = lies.get("key") or ec.generate_private_key(ec.SECP256R1())
        made = Credential(
            lies.get("credential_id") or secrets.token_bytes(32),
            key,
            options["rp"]["id"],
            unb64url(options["user"]["id"]),
        )
        self.held.append(made)
        numbers = key.public_key().public_numbers()
        cose = cbor2.dumps(
            {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        )
        attested = self.aaguid + len(made.id).to_bytes(2) + made.id + cose
        data = self._data(made, AT, lies) + attested
        client_data = self._client_data("webauthn.create", options, lies)
        attest = lies.get("attest", lambda data, client_data, key: ("none", {}))
        fmt, att_stmt = attest(data, client_data, key)
        statement = {"fmt": fmt, "attStmt": att_stmt, "authData": data}
        response = {
            "clientDataJSON": b64url(client_data),
            "attestationObject": b64url(cbor2.dumps(statement)),
            "transports": ["internal", "hybrid", "teleport"],
        }
        return self._answer(made, response)

    def get(self, options_json: str, **lies: Any) -> str:
        options = json.loads(options_json)
        used: Credential = lies.get("credential") or self.held[-1]
        used.sign_count = lies.get("sign_count", used.sign_count + (0 if self.synced else 1))
        data = self._data(used, 0, lies)
        client_data = self._client_data("webauthn.get", options, lies)
        signed = data + hashlib.sha256(client_data).digest()
        signer = lies.get("key") or used.key
        response = {
            "clientDataJSON": b64url(client_data),
            "authenticatorData": b64url(data),
            "signature": b64url(signer.sign(signed, ec.ECDSA(SHA256()))),
            "userHandle": b64url(lies.get("user_handle", used.user_handle)),
        }
        return self._answer(used, response)

    def _data(self, credential: Credential, extra: int, lies: dict[str, Any]) -> bytes:
        flags = UP | UV | (BE | BS if self.synced else 0)
        flags = lies.get("flags", flags) | extra
        rp_id = lies.get("rp_id", credential.rp_id)
        count = credential.sign_count.to_bytes(4)
        return bytes(hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + count)

    def _client_data(self, kind: str, options: dict[str, Any], lies: dict[str, Any]) -> bytes:
        told = {
            "type": lies.get("type", kind),
            "challenge": lies.get("challenge", options["challenge"]),
            "origin": lies.get("origin", self.origin),
            **({"crossOrigin": lies["cross_origin"]} if "cross_origin" in lies else {}),
        }
        return json.dumps(told).encode()

    def _answer(self, credential: Credential, response: dict[str, Any]) -> str:
        name = b64url(credential.id)
        return json.dumps(
            {"id": name, "rawId": name, "type": "public-key", "response": response,
             "clientExtensionResults": {}}
        )  # fmt: skip
