"""The settings that every server process has, whatever it serves."""

from dataclasses import dataclass
from pathlib import Path

from argy.base.config import setting
from argy.base.errors import InvalidArgument
from argy.rpc.server import ServerConfig
from argy.rpc.tls import ServerTls


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """How a server process listens, and finds what all services share."""

    key_ring: Path = setting("KEY_RING", "key ring file of the signing roots")
    page_key_ring: Path = setting("PAGE_KEY_RING", "key ring file of page tokens")
    server_dsn: str = setting("SERVER_DSN", "Postgres, as the login of what every server does")
    keeper_dsn: str = setting("KEEPER_DSN", "Postgres, as the partition keeper", default="")
    redis_url: str = setting(
        "REDIS_URL", "Redis or Valkey, with its password; where no variable of its own is set",
        default="",
    )  # fmt: skip
    server_redis_url: str = setting("SERVER_REDIS_URL", "as every server's user", default="")
    redis_cluster: bool = setting("REDIS_CLUSTER", "they are a Redis Cluster's", default=False)
    spool_dir: Path = setting("SPOOL_DIR", "where records wait", default=Path(".argy/spool"))
    listen: str = setting("LISTEN", "host:port to serve on", default="127.0.0.1:7443")
    tls_cert: Path | None = setting("TLS_CERT", "certificate chain, PEM", default=None)
    tls_key: Path | None = setting("TLS_KEY", "private key, PEM, mode 0600", default=None)
    tls_client_ca: Path | None = setting(
        "TLS_CLIENT_CA", "CA of the clients; with it they must show a certificate", default=None
    )
    unsafe_plaintext: bool = setting("UNSAFE_PLAINTEXT", "serve without TLS", default=False)
    reflection: bool = setting("REFLECTION", "serve gRPC reflection", default=False)
    processes: int = setting("PROCESSES", "processes that share the port", default=1)
    max_calls: int = setting("MAX_CALLS", "calls at a time in one process", default=1000)
    pool_size: int = setting("POOL_SIZE", "database connections a service", default=10)

    def listening(self, *, shared: bool) -> ServerConfig:
        """How the server listens; raises InvalidArgument for half a TLS pair."""
        if (self.tls_cert is None) != (self.tls_key is None):
            # Half a pair must not end as plaintext, whatever else is set.
            lacking = "ARGY_TLS_KEY" if self.tls_cert else "ARGY_TLS_CERT"
            raise InvalidArgument(f"set {lacking} too: TLS needs both", field=lacking)
        tls = (
            ServerTls(self.tls_cert, self.tls_key, self.tls_client_ca)
            if self.tls_cert and self.tls_key
            else None
        )
        return ServerConfig(
            listen=self.listen,
            tls=tls,
            unsafe_plaintext=self.unsafe_plaintext,
            reflection=self.reflection,
            max_concurrent_calls=self.max_calls,
            reuse_port=shared,
        )
