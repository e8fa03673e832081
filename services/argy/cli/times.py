"""Times and how long something lasts, as commands take and show them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from argy.base.errors import InvalidArgument

_DURATION: Final = re.compile(r"([1-9][0-9]{0,4})([mhd])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str, option: str) -> timedelta:
    """The time that ``30m``, ``8h`` or ``7d`` stands for.

    Raises:
        InvalidArgument: naming the option that holds something else.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidArgument(f"--{option} takes a number and m, h or d: 30m, 8h, 7d", field=option)
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def parse_moment(text: str, option: str) -> datetime:
    """The moment of a date and time with its zone, such as ``2027-01-31T18:00+01:00``.

    Raises:
        InvalidArgument: naming the option that holds something else, or no zone.
    """
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise InvalidArgument(
        f"--{option} takes a date and time with its zone: 2027-01-31T18:00Z, "
        "2027-01-31T18:00+01:00",
        field=option,
    )


def parse_end(text: str, option: str) -> datetime:
    """When something ends: after a duration from now, or at a moment.

    Raises:
        InvalidArgument: naming the option that holds neither.
    """
    if _DURATION.fullmatch(text):
        return datetime.now(UTC) + parse_duration(text, option)
    try:
        return parse_moment(text, option)
    except InvalidArgument as error:
        raise InvalidArgument(f"{error.message}; or how long: 30m, 8h, 7d", field=option) from None


def shown(stamp: Timestamp) -> str:
    """A time of the platform to the second, in UTC."""
    return stamp.ToDatetime().isoformat(timespec="seconds") + "Z"
