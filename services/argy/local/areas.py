"""Every service area that there is. A new one is a folder and a line here."""

from collections.abc import Mapping
from typing import Any, Final

from argy.audit.area import AREA as AUDIT
from argy.authn.area import AREA as AUTHN
from argy.authz.area import AREA as AUTHZ
from argy.base import config
from argy.directory.area import AREA as DIRECTORY
from argy.edge.settings import EdgeSettings
from argy.serving.area import Area
from argy.serving.process import SERVER_ROLE
from argy.serving.settings import ProcessSettings
from argy.store.redis_acl import SERVER, Purpose

AREAS: Final[tuple[Area[Any], ...]] = (AUTHZ, AUTHN, DIRECTORY, AUDIT)
"""In the order in which they join a process: who decides comes first."""

TABLES: Final[tuple[type[Any], ...]] = (
    ProcessSettings,
    *(area.settings for area in AREAS),
    EdgeSettings,
)
"""All settings: of every server, of each area, and of the edge."""
ROLES: Final = (SERVER_ROLE, *(area.role for area in AREAS), "argy_audit_keeper")
"""Every database role that has a login."""
REDIS_USES: Final[Mapping[str, tuple[Purpose, ...]]] = {
    "server": SERVER,
    **{area.name: area.redis for area in AREAS if area.redis},
}
"""What each user of Redis does there."""
_OTHERS: Final = frozenset(
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
    }
)
"""Variables that the client, the command line and ``argy up`` read."""


def load(env: Mapping[str, str], *kinds: type[Any]) -> tuple[Any, ...]:
    """The settings of ``kinds``, which are of ``TABLES``; raises as ``config.load``."""
    names = {name for table in TABLES for name, _, _ in config.table(table)}
    return config.load_all(
        kinds, env, elsewhere=_OTHERS | names | {f"{name}_FILE" for name in names}
    )
