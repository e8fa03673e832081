"""Asks the authz service, for a service or with the caller's own credential."""

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.struct_pb2 import Struct

from argy.api.authz.v1.authz_pb2 import (
    EFFECT_ALLOW,
    BatchCheckRequest,
    BatchCheckResponse,
    ListPermissionsRequest,
    ListSubjectsRequest,
    ListSubjectsResponse,
    Question,
)
from argy.api.authz.v1.authz_pb2_grpc import AuthzServiceStub
from argy.base.errors import ArgyError, InvalidArgument, ResourceExhausted, Unauthenticated
from argy.client import Connection
from argy.edge.authzen.domain import Evaluation, Facts, Held
from argy.edge.authzen.pages import Asker
from argy.edge.problems import from_service
from argy.edge.stages import inner_request_id

MAX_FACTS_BYTES: Final = 16_384
"""What the services take as one question's context."""
_MAX_QUESTIONS: Final = 1000
_MAX_BATCH_BYTES: Final = 4_000_000
_LIST_SIZE: Final = 1000
MAX_HELD: Final = 10_000
"""Most rules of one subject that a search looks through."""
_TIMEOUT_S: Final = 10.0
_OF_CREDENTIALS: Final = ("TOKEN_", "CREDENTIAL_")
"""Reasons of what the caller sent; anything else is between the edge and the services."""


class Decider:
    """The questions of one request: its caller, its tenant and its id are the same for all."""

    __slots__ = ("_metadata", "_own", "_request_id", "_stub")

    def __init__(self, connection: Connection, asker: Asker, request_id: str) -> None:
        self._own = bool(asker.credential)
        channel = connection.channel(
            asker.tenant_id, asker.org_id, subject="" if self._own else f"service:{asker.caller}"
        )
        self._stub = AuthzServiceStub(channel)
        self._request_id = request_id
        self._metadata = (("x-request-id", inner_request_id(request_id)), *asker.credential)

    async def admit(self) -> None:
        """Hold who asks to what every question would be held to, where none can be asked.

        Raises:
            ArgyError: as any question does: for a credential that is not good, a permission that
                is missing, a tenant that is unknown.
        """
        try:
            await self._call(self._stub.BatchCheck, BatchCheckRequest())
        except InvalidArgument:
            # That nothing is asked is told last, to whom would be answered.
            return

    async def check(self, asked: Sequence[Evaluation]) -> BatchCheckResponse:
        """Decide up to 1,000 questions, on one snapshot of policy and roles, in order.

        Raises:
            ResourceExhausted: when together they are larger than a call may be.
        """
        request = batch_of(asked)
        response: BatchCheckResponse = await self._call(self._stub.BatchCheck, request)
        if len(response.decisions) != len(asked):
            raise ArgyError("the platform's answer does not match the questions")
        return response

    async def allowed(self, asked: Sequence[Evaluation]) -> list[Evaluation]:
        """Those that are allowed, in order, of any number."""
        found: list[Evaluation] = []
        for start in range(0, len(asked), _MAX_QUESTIONS):
            part = asked[start : start + _MAX_QUESTIONS]
            decisions = (await self.check(part)).decisions
            found += [
                one
                for one, decision in zip(part, decisions, strict=True)
                if decision.effect == EFFECT_ALLOW
            ]
        return found

    async def held(self, subject: str) -> list[Held]:
        """The rules that speak about a subject, denials included; at most ``MAX_HELD``."""
        held: list[Held] = []
        token = ""
        while len(held) < MAX_HELD:
            request = ListPermissionsRequest(
                subject=subject, page_size=_LIST_SIZE, page_token=token, resolve_subject=True
            )
            response = await self._call(self._stub.ListPermissions, request)
            held += [Held(one.resource, one.action) for one in response.permissions]
            token = response.next_page_token
            if not token:
                break
        return held

    async def subjects(
        self, action: str, resource: str, facts: Facts, token: str
    ) -> ListSubjectsResponse:
        """A page of the subjects of any type that may act on a resource."""
        request = ListSubjectsRequest(
            action=action, resource=resource, page_size=_LIST_SIZE, page_token=token
        )
        if facts:
            request.context.CopyFrom(_struct(facts))
        response: ListSubjectsResponse = await self._call(self._stub.ListSubjects, request)
        return response

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request, timeout=_TIMEOUT_S, metadata=self._metadata)
        except Unauthenticated as error:
            if self._own and error.reason.startswith(_OF_CREDENTIALS):
                raise
            raise from_service(error, self._request_id) from error
        except ArgyError as error:
            raise from_service(error, self._request_id) from error


def batch_of(asked: Sequence[Evaluation]) -> BatchCheckRequest:
    """The questions as one call; raises as ``Decider.check``."""
    request = BatchCheckRequest(resolve_subjects=True)
    size = 0
    facts: Facts = {}
    context = Struct()
    for one in asked:
        question = Question(subject=one.subject, action=one.action, resource=one.resource)
        if one.facts:
            # The default context is that of every item without its own: encoded once for all.
            if one.facts != facts:
                facts, context = one.facts, _struct(one.facts)
            question.context.CopyFrom(context)
        # Counted on the way: a default context is repeated for every item that has none.
        size += question.ByteSize() + 8
        if size > _MAX_BATCH_BYTES:
            raise ResourceExhausted(
                "the evaluations with their contexts are too large: send fewer at a time",
                reason="BODY_TOO_LARGE",
                field="/evaluations",
            )
        request.questions.append(question)
    return request


def _struct(facts: Facts) -> Struct:
    made = Struct()
    made.update(dict(facts))
    if made.ByteSize() > MAX_FACTS_BYTES:
        raise InvalidArgument(
            f"/context with the properties of subject, action and resource must encode to at most "
            f"{MAX_FACTS_BYTES} bytes",
            reason="CONTEXT_TOO_LARGE",
            field="/context",
        )
    return made
