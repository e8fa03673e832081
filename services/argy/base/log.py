"""Structured logs: one JSON object a line on stderr, without secrets."""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_SECRET_NAME: Final = re.compile(
    r"(?i)password|passwd|secret|token|authorization|cookie|api.?key|signature|private|dsn|credential"
)
# Up to the last @, where a URL's host begins: a password may hold others.
_SECRET_URL: Final = re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,30}://[^\s:/@]{0,200}):[^\s/]{1,500}@")
_SECRET_TOKEN: Final = re.compile(
    r"argy_[a-z]{2,8}_[0-9A-Za-z]{43}(?:_[0-9A-Za-z]{1,6})?"
    r"|\beyJ[A-Za-z0-9_-]{10,8192}\.[A-Za-z0-9_-]{2,8192}\.[A-Za-z0-9_-]{2,8192}"
)
_MAX_VALUE: Final = 4096


class JsonFormatter(logging.Formatter):
    """Formats a record with its extras; values under secret-looking names never appear."""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        for name, value in vars(record).items():
            if name not in _STANDARD:
                line[name] = "[redacted]" if _SECRET_NAME.search(name) else redact(str(value))
        if record.exc_info:
            line["exception"] = redact(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def redact(text: str) -> str:
    """The text with passwords in URLs and our credentials replaced, and cut at a length."""
    return _SECRET_TOKEN.sub("[redacted]", _SECRET_URL.sub(r"\1:[redacted]@", text[:_MAX_VALUE]))


def configure(level: int = logging.INFO) -> None:
    """Send every log of this process to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
