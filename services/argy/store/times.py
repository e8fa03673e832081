"""Times of the database, which the services hold in milliseconds since the Unix epoch."""

from datetime import UTC, datetime, timedelta
from typing import Final

from argy.base.errors import InvalidArgument

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def to_time(milliseconds: int) -> datetime:
    """A time in UTC, as the database takes it.

    Raises:
        InvalidArgument: ``TIME_OUT_OF_RANGE``, outside the years 1 to 9999.
    """
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError as error:
        raise InvalidArgument("A time is out of range", reason="TIME_OUT_OF_RANGE") from error


def to_ms(time: datetime) -> int:
    """Milliseconds since the Unix epoch, rounded down."""
    delta = time - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
