"""``argy keys rewrap``: every secret at rest under the key-encryption key that wraps now."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from argy.authn.sealed import Rewrapped, Tell, rewrap_all
from argy.base import config
from argy.base.config import setting, table
from argy.base.envelope import KeyRingKms
from argy.local.settings import ELSEWHERE, Settings
from argy.store.database import Database


@dataclass(frozen=True, slots=True)
class RewrapSettings:
    """The settings of ``argy serve`` that it needs."""

    authn_dsn: str = setting("AUTHN_DSN", "Postgres, as the sign-in service's login")
    kek_ring: Path | None = setting("KEK_RING", "key ring file that seals secrets", default=None)
    kek: str = setting("KEK", "that ring's JSON itself", default="")


async def rewrap_secrets(env: Mapping[str, str], tell: Tell) -> list[Rewrapped]:
    """Rewrap what the database of ``env`` holds; raises as ``rewrap_all``, and InvalidArgument."""
    names = {name for name, _, _ in table(Settings)}
    elsewhere = ELSEWHERE | names | {f"{name}_FILE" for name in names}
    settings = config.load(RewrapSettings, env, elsewhere=elsewhere)
    kek = KeyRingKms.from_settings(settings.kek_ring, settings.kek)
    db = await Database.open(settings.authn_dsn, role="argy_authn", max_size=2)
    try:
        return await rewrap_all(db, kek, tell)
    finally:
        await db.close()
