"""The settings of ``argy serve edge``, in one table.

How it reaches the services is told by the client's own variables: ``ARGY_TARGET``,
``ARGY_CLIENT_KEYS_FILE`` and ``ARGY_CA_FILE`` (``argy.client.connection.Endpoint.from_env``).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from argy.base.config import setting
from argy.base.errors import InvalidArgument
from argy.base.origins import origin_of, parse_origins
from argy.edge.proxies import Network, parse_networks

LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of this machine."""
DESTINATIONS: Final = ("authn", "authz", "directory")
"""The services that the edge calls, and must have the keys for."""


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """How the edge listens, and to whom."""

    tokens: Path = setting("EDGE_TOKENS", "file of edge tokens (argy keys edge-token)")
    listen: str = setting("EDGE_LISTEN", "host:port of the edge", default="127.0.0.1:8443")
    tls_cert: Path | None = setting("EDGE_TLS_CERT", "certificate chain, PEM", default=None)
    tls_key: Path | None = setting("EDGE_TLS_KEY", "private key, PEM, mode 0600", default=None)
    unsafe_plaintext: bool = setting(
        "EDGE_UNSAFE_PLAINTEXT", "serve HTTP: a proxy in front ends TLS", default=False
    )
    public_url: str = setting(
        "EDGE_PUBLIC_URL", "what callers call it, https://…; else made of EDGE_LISTEN", default=""
    )
    passkey_origins: str = setting(
        "EDGE_PASSKEY_ORIGINS", "as ARGY_PASSKEY_ORIGINS: browsers are told of them", default=""
    )
    dev_mailbox: Path | None = setting(
        "EDGE_DEV_MAILBOX", "folder of mail to show on /dev/mail; on localhost alone", default=None
    )
    proxies: str = setting(
        "EDGE_PROXIES", "networks whose X-Forwarded-For is believed: 10.0.0.0/8, …", default=""
    )
    max_requests: int = setting("EDGE_MAX_REQUESTS", "requests at a time", default=256)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on.

        Raises:
            InvalidArgument: naming the variable.
        """
        host, _, port = self.listen.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            raise InvalidArgument("ARGY_EDGE_LISTEN must be host:port", field="ARGY_EDGE_LISTEN")
        return host.strip("[]"), int(port)

    @property
    def base_url(self) -> str:
        """The URL that callers use, without a slash at its end; never taken from a request.

        Raises:
            InvalidArgument: naming the variable.
        """
        if not self.public_url:
            return f"{'http' if self.unsafe_plaintext else 'https'}://{self.listen}"
        parts = urlsplit(self.public_url)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
            raise InvalidArgument(
                "ARGY_EDGE_PUBLIC_URL must be an https URL without query and fragment",
                field="ARGY_EDGE_PUBLIC_URL",
            )
        return self.public_url.rstrip("/")

    @property
    def origins(self) -> tuple[str, ...]:
        """The origins where passkeys are used, its own first.

        Raises:
            InvalidArgument: naming the variable.
        """
        more = parse_origins(self.passkey_origins, field="ARGY_EDGE_PASSKEY_ORIGINS")
        return tuple(dict.fromkeys((origin_of(self.base_url), *more)))

    @property
    def proxy_networks(self) -> tuple[Network, ...]:
        """The networks of our own proxies; raises InvalidArgument, naming the variable."""
        return parse_networks(self.proxies, field="ARGY_EDGE_PROXIES")

    @property
    def is_local(self) -> bool:
        """Whether callers reach it as this machine."""
        return urlsplit(self.base_url).hostname in LOCAL

    @property
    def is_strict(self) -> bool:
        """Whether browsers are told to use nothing but TLS: also where a proxy in front ends it.

        Not on this machine, where a browser would hold every other server to it.
        """
        return self.base_url.startswith("https:") and not self.is_local

    @property
    def mailbox(self) -> Path | None:
        """The folder of the development mailbox, if its page is to be there.

        Raises:
            InvalidArgument: naming the variable, anywhere but on this machine: whoever reads that
                mail can sign in as anybody.
        """
        if self.dev_mailbox is not None and not (self.is_local and self.address[0] in LOCAL):
            raise InvalidArgument(
                "ARGY_EDGE_DEV_MAILBOX is for localhost alone", field="ARGY_EDGE_DEV_MAILBOX"
            )
        return self.dev_mailbox
