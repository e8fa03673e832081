"""The gRPC face of sign-in policies: messages in, use cases, messages out."""

from typing import Any, Final

from argy.api.authn.v1 import sign_in_policy_pb2 as pb
from argy.authn.sessions.service import require_tenant_scope
from argy.authn.sign_in_policy.domain import Attestation, Links, SignInPolicy
from argy.authn.sign_in_policy.use_cases import SignInPolicies, Told
from argy.base.errors import InvalidArgument
from argy.base.ids import parse_uuid
from argy.rpc.call import Call

_LINKS: Final[dict[pb.Links.ValueType, Links]] = {pb.LINKS_ON: "ON", pb.LINKS_OFF: "OFF"}
_ATTESTATION: Final[dict[pb.PasskeyAttestation.ValueType, Attestation]] = {
    pb.PASSKEY_ATTESTATION_NONE: "NONE",
    pb.PASSKEY_ATTESTATION_REQUIRED: "REQUIRED",
}
_LINKS_TOLD: Final = {value: key for key, value in _LINKS.items()}
_ATTESTATION_TOLD: Final = {value: key for key, value in _ATTESTATION.items()}


class SignInPolicyService:
    """How people of a tenant sign in."""

    def __init__(self, policies: SignInPolicies) -> None:
        self._policies = policies

    async def GetSignInPolicy(
        self, request: pb.GetSignInPolicyRequest, call: Call
    ) -> pb.GetSignInPolicyResponse:
        """Tell the policy that holds."""
        require_tenant_scope(call)
        found = await self._policies.get(call)
        return pb.GetSignInPolicyResponse(**_fields(found))

    async def UpdateSignInPolicy(
        self, request: pb.UpdateSignInPolicyRequest, call: Call
    ) -> pb.UpdateSignInPolicyResponse:
        """Replace the policy."""
        require_tenant_scope(call)
        wanted = request.policy
        made = await self._policies.update(
            call,
            _policy(wanted),
            roots=wanted.passkey_attestation_roots,
            etag=request.etag,
        )
        return pb.UpdateSignInPolicyResponse(**_fields(made))


def _policy(message: pb.SignInPolicy) -> SignInPolicy:
    links, attestation = _LINKS.get(message.links), _ATTESTATION.get(message.passkey_attestation)
    if links is None or attestation is None:
        # Never taken for a default: who forgets a field would loosen the policy.
        field = "links" if links is None else "passkey_attestation"
        raise InvalidArgument(f"policy.{field} is required", field=f"policy.{field}")
    return SignInPolicy(
        links=links,
        models=frozenset(
            parse_uuid(text, field=f"policy.passkey_aaguids[{number}]")
            for number, text in enumerate(message.passkey_aaguids)
        ),
        attestation=attestation,
        session_idle_minutes=message.session_idle_minutes,
        session_max_minutes=message.session_max_minutes,
    )


def _fields(found: Told) -> dict[str, Any]:
    version, standing = found.version, found.standing
    policy = version.policy
    return {
        "policy": pb.SignInPolicy(
            links=_LINKS_TOLD[policy.links],
            passkey_aaguids=sorted(map(str, policy.models)),
            passkey_attestation=_ATTESTATION_TOLD[policy.attestation],
            passkey_attestation_roots=version.roots,
            session_idle_minutes=policy.session_idle_minutes,
            session_max_minutes=policy.session_max_minutes,
        ),
        "etag": version.etag,
        "standing": pb.SignInStanding(
            users_without_passkey=standing.users_without_passkey,
            passkeys_outside_policy=standing.passkeys_outside_policy,
        ),
    }
