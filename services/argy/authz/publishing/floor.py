"""The newest activation that ever was in force, kept where the database's owner can't lower it.

Activations are signed, so nobody makes one; but whoever writes to PostgreSQL can remove the newest
and have an older policy come back, signed as it was, at the next server that starts. So its number
is kept in Redis as well, and nothing below it comes in force. It only rises: a rollback has a
number of its own, above what it leaves. An unreviewed folder (``ARGY_UNSAFE_FOLLOW_POLICY_DIR``,
development only) does not raise it: servers that refuse one go on with what was before.

A database that was restored from a backup is below it on purpose: an operator removes the key that
``POLICY_BEHIND`` names, and starts the servers again. When Redis loses it, the next activation that
is in force sets it anew.
"""

from typing import Any, Final

from argy.authz.publishing.holder import InForce
from argy.base.errors import FailedPrecondition, Unavailable
from argy.base.ids import PLATFORM_TENANT_ID
from argy.store.redis import REDIS_ERRORS, RedisStore, key

KEY: Final = key(PLATFORM_TENANT_ID, "policy-floor")
# KEYS: the floor. ARGV: a sequence. Returns the higher one of the two, which is kept.
_RAISE: Final = """
local floor = tonumber(redis.call('GET', KEYS[1]) or '0')
local given = tonumber(ARGV[1])
if given > floor then
  redis.call('SET', KEYS[1], ARGV[1])
  return given
end
return floor
"""


class PolicyFloor:
    """The lowest sequence that may come in force."""

    __slots__ = ("_redis",)

    def __init__(self, redis: RedisStore) -> None:
        self._redis = redis

    async def read(self) -> int:
        """The sequence below which nothing comes in force; 0 when none is known.

        Raises:
            Unavailable: ``POLICY_FLOOR_AWAY``.
        """
        return await self._raise_to(0)

    async def keep(self, in_force: InForce) -> None:
        """Keep that this is in force; an unreviewed folder is no ground that others must stand on.

        Raises:
            Unavailable: ``POLICY_FLOOR_AWAY``.
        """
        if in_force.activation is not None and in_force.activation.origin != "FOLDER":
            await self._raise_to(in_force.sequence)

    async def _raise_to(self, sequence: int) -> int:
        try:
            found: Any = await self._redis.client.eval(_RAISE, 1, KEY, sequence)
        except REDIS_ERRORS as error:
            raise Unavailable(
                "which policy was in force last can't be told at the moment",
                reason="POLICY_FLOOR_AWAY",
                retry_after_ms=1000,
            ) from error
        return int(found)


def behind(sequence: int, floor: int) -> FailedPrecondition:
    """The refusal of the newest good activation of a database that lost newer ones."""
    return FailedPrecondition(
        f"activation {sequence} is the newest good one of the database, and {floor} was in force"
        " already: was it restored, or altered? If it was restored on purpose, remove the key"
        f" {KEY} from Redis and start every server again",
        reason="POLICY_BEHIND",
        metadata={"sequence": str(sequence), "floor": str(floor)},
    )
