"""The gRPC face of links: messages in, use cases, messages out."""

from uuid import UUID

from argy.api.authn.v1 import magic_link_pb2 as pb
from argy.api.authn.v1.session_pb2 import Device
from argy.authn.links.use_cases import Links
from argy.authn.sessions.service import device_of, new_message, require_tenant_scope
from argy.rpc.call import Call


class MagicLinkService:
    """Sends links that sign in once."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def RequestLink(
        self, request: pb.RequestLinkRequest, call: Call
    ) -> pb.RequestLinkResponse:
        """Send a link if the address is somebody's."""
        device = device_of(request.device)
        secret = await self._links.request(call, request.email, device)
        return pb.RequestLinkResponse(browser_secret=secret)

    async def InviteUser(self, request: pb.InviteUserRequest, call: Call) -> pb.InviteUserResponse:
        """Send an invitation."""
        require_tenant_scope(call)
        expires_at_ms = await self._links.invite(call, UUID(request.user_id))
        response = pb.InviteUserResponse()
        response.expire_time.FromMilliseconds(expires_at_ms)
        return response

    async def DescribeLink(
        self, request: pb.DescribeLinkRequest, call: Call
    ) -> pb.DescribeLinkResponse:
        """Tell where a link was asked for."""
        found = await self._links.describe(call, request.secret, device_of(request.device))
        link = found.link
        told = pb.DescribeLinkResponse(
            purpose=link.purpose, masked_email=found.masked_email, yours=found.yours
        )
        told.create_time.FromMilliseconds(link.created_at_ms)
        if link.device.ip or link.device.user_agent:
            told.device.CopyFrom(Device(ip=link.device.ip, user_agent=link.device.user_agent))
        return told

    async def RedeemLink(self, request: pb.RedeemLinkRequest, call: Call) -> pb.RedeemLinkResponse:
        """Use a link, once."""
        done = await self._links.redeem(
            call,
            request.secret,
            device_of(request.device),
            browser_secret=request.browser_secret,
            confirmed=request.confirmed,
        )
        return pb.RedeemLinkResponse(
            session=new_message((done.session, done.secret)), must_register=done.must_register
        )
