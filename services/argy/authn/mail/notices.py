"""Tells people by mail what happened to their ways in; nothing in such a mail signs in.

Their other devices hear of it by ``security_notice_store``.
"""

import logging
from typing import Final, Literal
from uuid import UUID

from argy.authn.mail.outbox import Outbox
from argy.authn.mail.texts import (
    passkey_added,
    passkey_blocked,
    passkey_removed,
    sign_in_reset,
    token_made,
)
from argy.authn.sessions.accounts import find_account
from argy.authn.sessions.domain import DeviceInfo
from argy.base.errors import ArgyError
from argy.rpc.call import Call
from argy.store.database import Database

NoticeKind = Literal[
    "passkey_added", "passkey_blocked", "passkey_removed", "sign_in_reset", "token_made"
]
_TEXTS: Final = {
    "passkey_added": passkey_added,
    "passkey_blocked": passkey_blocked,
    "passkey_removed": passkey_removed,
    "sign_in_reset": sign_in_reset,
    "token_made": token_made,
}
_LOG: Final = logging.getLogger("argy.authn.mail")


class SecurityNotices:
    """Tells the person concerned. Call it after the commit of what it tells of."""

    __slots__ = ("_db", "_outbox")

    def __init__(self, db: Database, outbox: Outbox) -> None:
        self._db = db
        self._outbox = outbox

    async def tell(
        self,
        call: Call,
        user_id: UUID,
        kind: NoticeKind,
        device: DeviceInfo | None = None,
        *,
        name: str,
    ) -> None:
        """Mail a person of the call's tenant; ``name`` is the passkey's or the token's.

        Never raises: the change is made already. A disabled person is told too, for the mailbox is
        still theirs.
        """
        try:
            async with self._db.tenant(call.tenant_id) as tx:
                account = await find_account(tx, user_id)
        except ArgyError as error:
            _LOG.warning("a notice (%s) was not written: %s", kind, error.reason)
            return
        if account is not None:
            mail = _TEXTS[kind](account, call.tenant.slug, name, device or DeviceInfo())
            await self._outbox.put(call.tenant_id, mail)
