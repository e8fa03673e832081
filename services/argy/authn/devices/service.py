"""The gRPC face of the device flow: messages in, use cases, messages out."""

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from argy.api.authn.v1 import device_pb2 as pb
from argy.api.authn.v1.session_pb2 import Device
from argy.api.authn.v1.token_pb2 import Tokens
from argy.authn.devices.domain import INTERVAL_S, LIFETIME_S, Poll, shown
from argy.authn.devices.use_cases import Devices
from argy.authn.sessions.domain import DeviceInfo
from argy.rpc.call import Call

_POLL: Final[dict[Poll, pb.DevicePoll.ValueType]] = {
    "GRANTED": pb.DEVICE_POLL_GRANTED,
    "AUTHORIZATION_PENDING": pb.DEVICE_POLL_AUTHORIZATION_PENDING,
    "SLOW_DOWN": pb.DEVICE_POLL_SLOW_DOWN,
    "ACCESS_DENIED": pb.DEVICE_POLL_ACCESS_DENIED,
    "EXPIRED": pb.DEVICE_POLL_EXPIRED,
}


class DeviceService:
    """Terminals and agents, signed in from a browser."""

    def __init__(self, devices: Devices) -> None:
        self._devices = devices

    async def AuthorizeDevice(
        self, request: pb.AuthorizeDeviceRequest, call: Call
    ) -> pb.AuthorizeDeviceResponse:
        """Begin."""
        begun = await self._devices.begin(
            call,
            client_id=request.client_id,
            scope=request.scope,
            device=_info(request.device),
        )
        return pb.AuthorizeDeviceResponse(
            device_code=begun.device_code,
            user_code=shown(begun.user_code),
            expires_in_s=LIFETIME_S,
            interval_s=INTERVAL_S,
        )

    async def DescribeDeviceCode(
        self, request: pb.DescribeDeviceCodeRequest, call: Call
    ) -> pb.DescribeDeviceCodeResponse:
        """Tell a person what asks."""
        found = await self._devices.describe(call, request.user_code, device=_info(request.device))
        return pb.DescribeDeviceCodeResponse(
            client_id=found.client_id,
            scope=found.scope,
            device=Device(ip=found.ip, user_agent=found.user_agent),
            create_time=Timestamp(seconds=found.created_at_ms // 1_000),
        )

    async def DecideDeviceCode(
        self, request: pb.DecideDeviceCodeRequest, call: Call
    ) -> pb.DecideDeviceCodeResponse:
        """Approve or deny."""
        await self._devices.decide(
            call,
            request.user_code,
            approved=request.approved,
            device=_info(request.device),
        )
        return pb.DecideDeviceCodeResponse()

    async def RedeemDeviceCode(
        self, request: pb.RedeemDeviceCodeRequest, call: Call
    ) -> pb.RedeemDeviceCodeResponse:
        """Answer a poll."""
        outcome = await self._devices.redeem(call, request.device_code, request.client_id)
        tokens = outcome.tokens
        return pb.RedeemDeviceCodeResponse(
            poll=_POLL[outcome.poll],
            tokens=None
            if tokens is None
            else Tokens(
                access_token=tokens.access_token,
                refresh_token=tokens.refresh_token,
                expires_in_s=tokens.expires_in_s,
                scope=tokens.scope,
            ),
        )


def _info(device: Device) -> DeviceInfo:
    return DeviceInfo(device.ip, device.user_agent)
