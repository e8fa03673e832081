"""The name of a service key as a signature carries it, which tells all that its secret is made of.

    svc.<root key id>.<tenant, 32 hex digits>.<credential, 32 hex digits>.<generation>

It has dots, which the id of a root key has not, so that neither is ever taken for the other. The
signature covers it. Its length is bounded: 109 characters.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from uuid import UUID

from argy.base.errors import InvalidArgument
from argy.base.ids import PLATFORM_TENANT_ID

START: Final = "svc."
"""What the id of every service key begins with, and of no other."""
SVC: Final = "svc"
"""Secrets of service keys begin with ``argy_svc_``."""
MAX_GENERATION: Final = 999_999
FORM: Final = r"svc\.[a-z0-9][a-z0-9_-]{0,31}\.[0-9a-f]{32}\.[0-9a-f]{32}\.[1-9][0-9]{0,5}"
SERVICE: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
"""What a service may be called: the source of a signature."""
_FORM: Final = re.compile(FORM)


@dataclass(frozen=True, slots=True)
class ServiceKeyId:
    """One secret of a service key; each rotation makes the next generation."""

    root_id: str
    """The root key that it is derived from."""
    tenant_id: UUID
    """Whose key it is."""
    credential_id: UUID
    generation: int

    def __str__(self) -> str:
        """As in a signature."""
        return (
            f"{START}{self.root_id}.{self.tenant_id.hex}.{self.credential_id.hex}.{self.generation}"
        )

    def reaches(self, tenant_id: UUID, *, platform: bool) -> bool:
        """Whether it may sign a call for ``tenant_id``.

        A key of the platform tenant may for every tenant, any other for its own alone: and no call
        that is decided in the platform tenant (``platform``), where a service of the same name is
        another one.
        """
        if self.tenant_id == PLATFORM_TENANT_ID:
            return True
        return not platform and self.tenant_id == tenant_id


@lru_cache(maxsize=4096)
def parse_key_id(text: str) -> ServiceKeyId:
    """The parts of a service key's id; raises InvalidArgument for anything else."""
    if not _FORM.fullmatch(text):
        raise InvalidArgument("this is not the id of a service key", field="key_id")
    _, root_id, tenant, credential, generation = text.split(".")
    return ServiceKeyId(root_id, UUID(hex=tenant), UUID(hex=credential), int(generation))
