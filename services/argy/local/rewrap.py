"""``argy keys rewrap``: every secret at rest under the key-encryption key that wraps now."""

from collections.abc import Mapping

from argy.authn.area import AuthnSettings
from argy.authn.sealed import Rewrapped, Tell, rewrap_all
from argy.base.errors import InvalidArgument
from argy.local.areas import load
from argy.store.database import Database


async def rewrap_secrets(env: Mapping[str, str], tell: Tell) -> list[Rewrapped]:
    """Rewrap what the database of ``env`` holds; raises as ``rewrap_all``, and InvalidArgument."""
    (settings,) = load(env, AuthnSettings)
    if not settings.dsn:
        raise InvalidArgument("set ARGY_AUTHN_DSN, as the servers have it", field="ARGY_AUTHN_DSN")
    db = await Database.open(settings.dsn, role="argy_authn", max_size=2)
    kek = settings.kms()
    try:
        return await rewrap_all(db, kek, tell)
    finally:
        await db.close()
