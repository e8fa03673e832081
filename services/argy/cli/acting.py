"""Who acts: whoever is signed in, the owner of ``ARGY_TOKEN``, or else the service itself.

A sign-in is good at its own platform and in its own tenant. A command that goes elsewhere is
refused: acting as the service instead would do with other rights what the person meant to do.
"""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from argy.base.errors import FailedPrecondition, InvalidArgument, Unauthenticated
from argy.cli import signed_in
from argy.cli.edge_client import Answer
from argy.cli.endpoints import edge_client, edge_url
from argy.cli.signed_in import Login
from argy.client.bearer import token_owner

TOKEN: Final = "ARGY_TOKEN"  # noqa: S105 - the variable's name
AS_SERVICE: Final = "ARGY_AS_SERVICE"
TENANT: Final = "ARGY_TENANT"


@dataclass(slots=True)
class Person:
    """Who acts by a token of their own; the ``Bearer`` of a connection.

    A personal access token doesn't tell whose it is, nor of which tenant: ``tenant_id`` is None.
    """

    origin: str
    """Where the token comes from, for messages."""
    secret: str = field(repr=False)
    tenant: str = ""
    tenant_id: UUID | None = None
    subject: str = ""
    login: Login | None = None
    """The sign-in that it is of; None for a token of the environment."""

    def token(self, tenant_id: UUID) -> str:
        """The access token for a call of a tenant; refreshed when it is about to end.

        Raises:
            FailedPrecondition: ``SIGNED_IN_ELSEWHERE``.
            Unauthenticated: ``NOT_SIGNED_IN``, when the platform ended the sign-in.
            Unavailable: when the edge can't be reached.
        """
        if self.tenant_id not in (None, tenant_id):
            raise self.elsewhere()
        if self.login is not None and not self.login.good():
            self._renewed()
        return self.secret

    def renew(self, error: Unauthenticated) -> bool:
        """See ``Bearer``."""
        if self.login is None or error.reason not in signed_in.RENEWABLE:
            return False
        self._renewed(instead_of=self.secret)
        return True

    def elsewhere(self, tenant: str = "") -> FailedPrecondition:
        """The refusal of a command that asks another tenant than the token's."""
        other = f"this asks {tenant}" if tenant else "this asks another tenant"
        command = f"argy login --tenant {tenant}" if tenant else "argy login"
        return FailedPrecondition(
            f"{self.origin} is of the tenant {self.tenant}, and {other}: `{command}`, or set "
            f"{AS_SERVICE}=1 to act as the service itself",
            reason="SIGNED_IN_ELSEWHERE",
            field="tenant",
        )

    def _renewed(self, instead_of: str = "") -> None:
        self.login = signed_in.current(instead_of=instead_of)
        self.secret = self.login.access_token


def acting(env: Mapping[str, str] | None = None, *, anywhere: bool = False) -> Person | None:
    """Who acts at this terminal on the platform that ``endpoint`` names; None for the service.

    ``anywhere``: at whichever platform they are signed in, for what is asked of its edge alone.

    Raises:
        InvalidArgument: when the environment names two, or holds no token.
        FailedPrecondition: ``SIGNED_IN_ELSEWHERE`` for a sign-in at another platform; or when it
            can't be read.
        Unauthenticated: ``NOT_SIGNED_IN``, when it ended.
    """
    values = os.environ if env is None else env
    service, token = as_service(values), values.get(TOKEN, "").strip()
    if service and token:
        raise InvalidArgument(f"{TOKEN} and {AS_SERVICE}: unset one", reason="TWO_CALLERS")
    if service:
        return None
    if token:
        return of_token(token)
    folder = signed_in.config_folder(values)
    if not signed_in.is_kept(folder):
        return None
    login = signed_in.load(folder, signed_in.system_vault(values))
    if not anywhere and login.edge != (here := edge_url()):
        mend = "run `argy login` there" if here else "set ARGY_EDGE_URL to the edge of it"
        raise FailedPrecondition(
            f"your sign-in is at {login.edge}, and this goes to {here or 'ARGY_TARGET'}: "
            f"{mend}, or set {AS_SERVICE}=1 to act as the service itself",
            reason="SIGNED_IN_ELSEWHERE",
        )
    return _person("your sign-in", login.access_token, login)


def as_service(env: Mapping[str, str] | None = None) -> bool:
    """Whether the environment says that the service itself is meant to act.

    Raises:
        InvalidArgument: when it says something else than 1 or 0.
    """
    told = (os.environ if env is None else env).get(AS_SERVICE, "")
    if told not in {"", "0", "1"}:
        raise InvalidArgument(f"{AS_SERVICE} is 1 or 0", field=AS_SERVICE)
    return told == "1"


def of_token(token: str) -> Person:
    """Who acts by a token of the environment.

    Raises:
        InvalidArgument: when it is neither a personal access token nor an access token.
    """
    try:
        return _person(TOKEN, token, None)
    except InvalidArgument as error:
        raise InvalidArgument(
            f"{TOKEN}: {error.message}", reason=error.reason, field=TOKEN
        ) from None


def ask(work: Callable[[Login], Answer]) -> Answer:
    """What the edge answers to who acts, which is a person; raises as ``acting``.

    Raises:
        InvalidArgument: ``PERSON_REQUIRED``, where the service itself is meant to act; or when a
            personal access token comes without its tenant.
    """
    if as_service():
        raise InvalidArgument(
            f"this takes a person, and {AS_SERVICE}=1 means that the service acts: unset it",
            reason="PERSON_REQUIRED",
            field=AS_SERVICE,
        )
    token = os.environ.get(TOKEN, "").strip()
    if not token:
        return signed_in.ask(work)
    person, edge = of_token(token), edge_client()
    tenant = person.tenant or os.environ.get(TENANT, "")
    if not tenant:
        raise tenant_untold()
    return work(Login(edge.url, edge.ca_file, tenant, token, "", math.inf, ""))


def tenant_untold() -> InvalidArgument:
    """The refusal of a personal access token without its tenant."""
    return InvalidArgument(
        f"a personal access token doesn't tell its tenant: give --tenant, or set {TENANT}",
        reason="TENANT_REQUIRED",
        field="tenant",
    )


def _person(origin: str, token: str, login: Login | None) -> Person:
    owner = token_owner(token)
    if owner is None:
        return Person(origin, token)
    return Person(origin, token, owner.tenant, owner.tenant_id, owner.subject, login)
