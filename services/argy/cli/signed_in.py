"""Who is signed in at this terminal: tokens in the OS keyring, or in a file of mode 0600.

What is no secret (which edge, which tenant) always lies in ``login.json``. The tokens lie beside it
in the same file when the system has no keyring of its own, or when ARGY_HOME says where everything
belongs. Refreshing is locked: a refresh token that two commands use at once would end the login.
"""

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol

from argy.base.crypto import SecretFile, read_secret, write_secret
from argy.base.errors import FailedPrecondition, Unauthenticated
from argy.cli.edge_client import Answer, EdgeClient

CLIENT_ID: Final = "argy-cli"
FILE: Final = "login.json"
_SECRETS: Final = ("access_token", "refresh_token")
RENEWABLE: Final = frozenset(
    {"TOKEN_EXPIRED", "TOKEN_KEY_UNKNOWN", "TOKEN_REVOKED", "TOKEN_REVOCATION_UNKNOWN"}
)
"""Why an access token is refused whose sign-in may go on."""
_EARLY_S: Final = 30
"""A token that ends this soon is refreshed before it is used."""


@dataclass(frozen=True, slots=True)
class Login:
    """One sign-in of a terminal. ``expires_at`` is in seconds since the Unix epoch."""

    edge: str
    ca_file: str
    tenant: str
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    scope: str

    @property
    def client(self) -> EdgeClient:
        """The edge that it is good at."""
        return EdgeClient(self.edge, self.ca_file)

    def good(self) -> bool:
        """Whether its access token lasts for a while."""
        return self.expires_at - _EARLY_S > time.time()

    def path(self, name: str) -> str:
        """The path of something of its tenant's."""
        return f"/{self.tenant}/{name}"

    def refreshed(self, answer: dict[str, Any]) -> "Login":
        """With the tokens of a token endpoint's answer."""
        return replace(
            self,
            access_token=str(answer["access_token"]),
            refresh_token=str(answer.get("refresh_token", "")),
            expires_at=time.time() + float(answer.get("expires_in", 0)),
            scope=str(answer.get("scope", "")),
        )


class Vault(Protocol):
    """Where secrets lie, by name. Each method raises FailedPrecondition when it does not open."""

    def read(self, name: str) -> str:
        """The secret of a name; empty when there is none."""
        ...

    def keep(self, name: str, secret: str) -> None:
        """Keep a secret."""
        ...

    def forget(self, name: str) -> None:
        """Forget a secret that may not be there."""
        ...


def config_folder(env: Mapping[str, str] | None = None) -> Path:
    """ARGY_HOME, or the user's own folder for configuration."""
    values = os.environ if env is None else env
    if home := values.get("ARGY_HOME"):
        return Path(home)
    base = values.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "argy"


def system_vault(env: Mapping[str, str] | None = None) -> Vault | None:
    """The OS keyring, where there is a real one; None under ARGY_HOME, which holds everything."""
    if (os.environ if env is None else env).get("ARGY_HOME"):
        return None
    # Slow to import, and most commands need none.
    from argy.cli.os_keyring import open_keyring

    return open_keyring()


def save(login: Login, folder: Path, vault: Vault | None) -> None:
    """Remember a sign-in; a keyring that refuses is as good as none."""
    told = asdict(login)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if vault is not None:
        secrets = json.dumps({name: told[name] for name in _SECRETS})
        with suppress(FailedPrecondition):
            vault.keep(_name(told), secrets)
            told |= {"access_token": "", "refresh_token": ""}
    write_secret(folder / FILE, (json.dumps(told, indent=1) + "\n").encode())


def load(folder: Path, vault: Vault | None, *, uid: int | None = None) -> Login:
    """Who is signed in, as the user of the system ``uid`` (this process's) left it.

    Raises:
        Unauthenticated: ``NOT_SIGNED_IN``.
        FailedPrecondition: when the file is somebody else's, readable by others or damaged, or the
            keyring locked.
    """
    path = folder / FILE
    try:
        owner = path.lstat().st_uid
    except FileNotFoundError:
        raise not_signed_in() from None
    if owner != (os.geteuid() if uid is None else uid):
        # It could name an edge of theirs, and have root sign in there.
        raise FailedPrecondition(f"{path} belongs to another user", reason="LOGIN_OF_ANOTHER")
    try:
        told = json.loads(read_secret(path))
        if not told["access_token"]:
            kept = "" if vault is None else vault.read(_name(told))
            if not kept:
                raise not_signed_in(
                    "your sign-in is over: run `argy login` again, or `argy logout`"
                )
            secrets = json.loads(kept)
            told |= {name: secrets[name] for name in _SECRETS}
        return _checked(told)
    except (ValueError, KeyError, TypeError) as error:
        raise FailedPrecondition(
            f"{path} is damaged: run `argy login` again", reason="LOGIN_DAMAGED"
        ) from error


def check_place(folder: Path) -> None:
    """Refuse to sign in where it can't be remembered, before anybody confirms anything.

    Raises:
        FailedPrecondition: ``LOGIN_UNWRITABLE``.
    """
    try:
        with locked(folder), SecretFile(folder / FILE):
            pass
    except OSError as error:
        raise FailedPrecondition(
            f"{folder} can't be written ({error.strerror}): set ARGY_HOME to a folder of yours",
            reason="LOGIN_UNWRITABLE",
        ) from error


def is_kept(folder: Path) -> bool:
    """Whether somebody signed in here and did not sign out, be it over at the platform or not."""
    return os.path.lexists(folder / FILE)


def remove(folder: Path) -> bool:
    """Remove what is left of a sign-in that is over; whether there was one."""
    kept = is_kept(folder)
    (folder / FILE).unlink(missing_ok=True)
    return kept


def forget(login: Login, folder: Path, vault: Vault | None) -> None:
    """Remove every trace of a sign-in."""
    if vault is not None:
        with suppress(FailedPrecondition):
            vault.forget(_name(asdict(login)))
    (folder / FILE).unlink(missing_ok=True)


def forget_secrets(login: Login, vault: Vault | None, *, unless: Login) -> None:
    """Remove the tokens of a sign-in from the keyring, ``unless`` that one's lie in their place."""
    if vault is not None and _name(asdict(login)) != _name(asdict(unless)):
        with suppress(FailedPrecondition):
            vault.forget(_name(asdict(login)))


def end(login: Login) -> None:
    """End a sign-in at its platform: its refresh token, and what that was traded for.

    Raises:
        Unavailable: when the edge can't be reached; or what it answered.
    """
    fields = {
        "token": login.refresh_token,
        "token_type_hint": "refresh_token",
        "client_id": CLIENT_ID,
    }
    login.client.post_form(login.path("oauth/revoke"), fields).checked()


def ask(work: Callable[[Login], Answer]) -> Answer:
    """What the edge answers to who is signed in; ``work`` asks it with their access token.

    It is asked once more with a new token when the platform did not take the first, as after it
    lost which tokens were ended. Raises as ``current``.
    """
    login = current()
    answer = work(login)
    if answer.status == HTTPStatus.UNAUTHORIZED and answer.body.get("reason") in RENEWABLE:
        answer = work(current(instead_of=login.access_token))
    return answer


def current(*, instead_of: str = "") -> Login:
    """Who is signed in, with an access token that is good for a while, and another than one.

    Raises:
        Unauthenticated: ``NOT_SIGNED_IN``, also when the platform ended it.
        Unavailable: when the edge can't be reached.
    """

    def good(login: Login) -> bool:
        return login.access_token != instead_of and login.good()

    folder, vault = config_folder(), system_vault()
    login = load(folder, vault)
    if good(login):
        return login
    with locked(folder):
        # Perhaps another command has refreshed it meanwhile.
        login = load(folder, vault)
        if good(login):
            return login
        fields = {
            "grant_type": "refresh_token",
            "refresh_token": login.refresh_token,
            "client_id": CLIENT_ID,
        }
        answer = login.client.post_form(login.path("oauth/token"), fields)
        if answer.oauth_error in {"invalid_grant", "invalid_client"}:
            # Until they sign out, nobody else acts in their place, the service neither.
            forget(login, folder, vault)
            save(replace(login, access_token="", refresh_token=""), folder, None)
            return load(folder, vault)
        login = login.refreshed(answer.checked())
        save(login, folder, vault)
    return login


def not_signed_in(message: str = "you are not signed in: run `argy login`") -> Unauthenticated:
    """The refusal of a command that needs a person."""
    return Unauthenticated(message, reason="NOT_SIGNED_IN")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only command that changes who is signed in."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(folder / "login.lock", "a", opener=_private) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _checked(told: dict[str, Any]) -> Login:
    """The login of a file's JSON; raises TypeError for anything else than it was saved as."""
    login = Login(**told)
    texts = [value for name, value in asdict(login).items() if name != "expires_at"]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is none")
    if type(login.expires_at) not in (int, float):
        raise TypeError("a time is none")
    return login


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _name(told: dict[str, Any]) -> str:
    return f"{told['tenant']}@{told['edge']}"
