"""E-mail addresses: one rule of what is one, and one form in which it is kept and looked up."""

import re
import unicodedata
from typing import Final

import idna

from argy.base.errors import InvalidArgument

MAX_EMAIL: Final = 254
# RFC 5321 §4.5.3.1 and RFC 1035 §2.3.4: local parts of at most 64 octets, labels of 1 to 63.
_MAX_LOCAL_BYTES: Final = 64
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(?:\.{_LABEL})+")


def email_address(text: str) -> str:
    """The address without space around it, in NFC, its domain in lower case and as A-labels.

    The local part keeps its case, as its owner writes it. A domain has two labels or more: mail to
    others can't be delivered. Only the form is checked, which tells nothing of who exists.

    Raises:
        InvalidArgument: ``INVALID_EMAIL``.
    """
    local, _, domain = unicodedata.normalize("NFC", text.strip()).rpartition("@")
    try:
        # UTS #46, as browsers do; what is ASCII stays what it is.
        domain = domain.lower() if domain.isascii() else idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        domain = ""
    address = f"{local}@{domain}"
    if (
        not local
        or "@" in local
        or any(unicodedata.category(char)[0] in "CZ" for char in local)
        or len(local.encode(errors="surrogatepass")) > _MAX_LOCAL_BYTES
        or _DOMAIN.fullmatch(domain) is None
        or len(address) > MAX_EMAIL
    ):
        raise InvalidArgument(
            "this is no e-mail address: write one such as ada@example.com",
            reason="INVALID_EMAIL",
            field="email",
        )
    return address
