"""The settings of ``argy serve``, in one table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from argy.base.config import setting, table
from argy.edge.settings import EdgeSettings

SERVICES: Final = ("authz", "audit", "directory", "authn")
"""What can be served."""
DEFAULT_SERVICES: Final = ("authz", "audit", "directory")
"""What is served when nothing is named; sign-in needs settings of its own."""
ELSEWHERE: Final = frozenset(
    {
        "ARGY_HOME",
        "ARGY_TARGET",
        "ARGY_CA_FILE",
        "ARGY_CLIENT_KEYS_FILE",
        "ARGY_SERVICE_KEY",
        "ARGY_CLIENT_CERT_FILE",
        "ARGY_CLIENT_KEY_FILE",
        "ARGY_TENANT",
        "ARGY_ORG",
        "ARGY_POSTGRES",
        "ARGY_POSTGRES_DSN",
        "ARGY_REDIS",
        "ARGY_UP_PORT",
        "ARGY_UP_EDGE_PORT",
        "ARGY_EDGE_URL",
        "ARGY_EDGE_CA_FILE",
        "ARGY_SHARED_PORT",
        *(f"{name}{by}" for name, _, _ in table(EdgeSettings) for by in ("", "_FILE")),
    }
)
"""Variables that the client, the command line, ``argy up`` and the edge read."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server process finds what it needs."""

    key_ring: Path = setting("KEY_RING", "key ring file of the signing roots")
    page_key_ring: Path = setting("PAGE_KEY_RING", "key ring file of page tokens")
    directory_dsn: str = setting("DIRECTORY_DSN", "Postgres, as the directory's login", default="")
    authz_dsn: str = setting("AUTHZ_DSN", "Postgres, as authz' login", default="")
    audit_dsn: str = setting("AUDIT_DSN", "Postgres, as the audit service's login", default="")
    authn_dsn: str = setting("AUTHN_DSN", "Postgres, as the sign-in service's login", default="")
    keeper_dsn: str = setting("KEEPER_DSN", "Postgres, as the partition keeper", default="")
    redis_url: str = setting(
        "REDIS_URL", "Redis or Valkey, with its password; for services without one below",
        default="",
    )  # fmt: skip
    directory_redis_url: str = setting("DIRECTORY_REDIS_URL", "as the directory's user", default="")
    authz_redis_url: str = setting("AUTHZ_REDIS_URL", "as authz' user", default="")
    audit_redis_url: str = setting("AUDIT_REDIS_URL", "as the audit service's user", default="")
    authn_redis_url: str = setting("AUTHN_REDIS_URL", "as the sign-in service's user", default="")
    redis_cluster: bool = setting("REDIS_CLUSTER", "they are a Redis Cluster's", default=False)
    policy_dir: Path = setting(
        "POLICY_DIR", "the policy folder, until a first policy is in force", default=Path("policy")
    )
    policy_key_ring: Path | None = setting(
        "POLICY_KEY_RING", "key ring file that signs what comes in force; authz needs it",
        default=None,
    )  # fmt: skip
    policy_trusted_keys: Path | None = setting(
        "POLICY_TRUSTED_KEYS", "public keys whose bundles may be proposed", default=None
    )
    unsafe_follow_policy_dir: bool = setting(
        "UNSAFE_FOLLOW_POLICY_DIR", "activate a changed folder without review", default=False
    )
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
    authz_target: str = setting("AUTHZ_TARGET", "authz, when it is served elsewhere", default="")
    authz_ca: Path | None = setting("AUTHZ_CA", "CA to trust for AUTHZ_TARGET", default=None)
    public_url: str = setting(
        "PUBLIC_URL", "the edge's https URL: tokens name it; with none they are refused", default=""
    )
    authn_target: str = setting("AUTHN_TARGET", "authn, when it is served elsewhere", default="")
    authn_ca: Path | None = setting("AUTHN_CA", "CA to trust for AUTHN_TARGET", default=None)
    kek_ring: Path | None = setting(
        "KEK_RING", "key ring file that seals secrets at rest; authn needs it, or ARGY_KEK",
        default=None,
    )  # fmt: skip
    kek: str = setting("KEK", "that ring's JSON itself", default="")
    signing_key_bits: int = setting(
        "SIGNING_KEY_BITS", "size of new keys of access tokens: 2048 or 3072", default=2048
    )
    rp_id: str = setting(
        "RP_ID", "domain of passkeys; the host of PUBLIC_URL by default", default=""
    )
    rp_name: str = setting("RP_NAME", "what passkeys are for, as browsers show it", default="Argy")
    passkey_origins: str = setting(
        "PASSKEY_ORIGINS", "more https origins where passkeys are used, with commas", default=""
    )
    session_idle_s: int = setting(
        "SESSION_IDLE_S", "seconds a session may rest; a tenant may set less", default=1_800
    )
    session_max_s: int = setting(
        "SESSION_MAX_S", "seconds a session lasts at most; a tenant may set less", default=43_200
    )
    mail_smtp_url: str = setting(
        "MAIL_SMTP_URL", "smtps:// (TLS) or smtp:// (STARTTLS) of sign-in mail", default=""
    )
    mail_from: str = setting("MAIL_FROM", "its sender", default="")
    mail_ca: Path | None = setting("MAIL_CA", "CA to trust for it; else the system's", default=None)
    unsafe_mail_dir: Path | None = setting(
        "UNSAFE_MAIL_DIR", "write sign-in mail to this folder instead: development", default=None
    )
    max_calls: int = setting("MAX_CALLS", "calls at a time in one process", default=1000)
    pool_size: int = setting("POOL_SIZE", "database connections a service", default=10)
    notify_smtp_url: str = setting(
        "NOTIFY_SMTP_URL", "smtps:// (TLS) or smtp:// (STARTTLS) of what waits for people",
        default="",
    )  # fmt: skip
    notify_from: str = setting("NOTIFY_FROM", "the sender of that mail", default="")
    notify_to: str = setting("NOTIFY_TO", "its recipients, with commas between", default="")
    notify_webhook_url: str = setting(
        "NOTIFY_WEBHOOK_URL", "https:// that takes CloudEvents of what waits for people", default=""
    )
    notify_webhook_key: str = setting(
        "NOTIFY_WEBHOOK_KEY", "signs them: 32 characters or more", default=""
    )
    notify_ca: Path | None = setting(
        "NOTIFY_CA", "CA to trust for both; else the system's", default=None
    )


TABLES: Final = (Settings, EdgeSettings)
"""The settings of the services and of the edge, each a table of its own."""
