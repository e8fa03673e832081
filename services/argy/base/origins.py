"""Origins of pages (RFC 6454 §6.1), as settings list them."""

from urllib.parse import urlsplit

from argy.base.errors import InvalidArgument


def parse_origins(text: str, *, field: str) -> tuple[str, ...]:
    """The https origins of a list with commas between, such as ``https://id.example.com``.

    Raises:
        InvalidArgument: ``CONFIG_INVALID``, naming ``field``, for what is no such origin.
    """
    found = tuple(part for part in (part.strip() for part in text.split(",")) if part)
    for origin in found:
        parts = urlsplit(origin)
        if parts.scheme != "https" or not parts.hostname or f"https://{parts.netloc}" != origin:
            raise InvalidArgument(
                f"{field} must be origins such as https://id.example.com",
                reason="CONFIG_INVALID",
                field=field,
            )
    return found


def origin_of(url: str) -> str:
    """The origin of a URL: its scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
