"""The operating system's keyring, where there is one. Imported only when it is asked for."""

import keyring
from keyring.backend import KeyringBackend
from keyring.errors import KeyringError

from argy.base.errors import FailedPrecondition

_SERVICE = "argy"


class OsKeyring:
    """Secrets of this user, by name. Each method raises FailedPrecondition ``KEYRING_LOCKED``."""

    __slots__ = ("_backend",)

    def __init__(self, backend: KeyringBackend) -> None:
        self._backend = backend

    def read(self, name: str) -> str:
        """The secret of a name; empty when there is none."""
        try:
            return self._backend.get_password(_SERVICE, name) or ""
        except KeyringError as error:
            raise locked() from error

    def keep(self, name: str, secret: str) -> None:
        """Keep a secret."""
        try:
            self._backend.set_password(_SERVICE, name, secret)
        except KeyringError as error:
            raise locked() from error

    def forget(self, name: str) -> None:
        """Forget a secret that may not be there."""
        try:
            if self._backend.get_password(_SERVICE, name) is not None:
                self._backend.delete_password(_SERVICE, name)
        except KeyringError as error:
            raise locked() from error


def open_keyring() -> OsKeyring | None:
    """The keyring; None where there is no real one.

    Backends that keep nothing, or keep it in plain files, have a priority below one.
    """
    backend: KeyringBackend = keyring.get_keyring()
    try:
        real = float(backend.priority) >= 1
    except (RuntimeError, KeyringError, TypeError):
        real = False
    return OsKeyring(backend) if real else None


def locked() -> FailedPrecondition:
    """The error of a keyring that does not open."""
    return FailedPrecondition("the system's keyring does not open", reason="KEYRING_LOCKED")
