"""The addresses of the pages, in one visible table."""

from pathlib import Path
from typing import Final

from starlette.routing import BaseRoute, Route

from argy.client import Connection
from argy.client.connection import Endpoint
from argy.edge.csrf import FormTokens
from argy.edge.pages import ceremony, device, security, sign_in
from argy.edge.pages.dev_mail import Mailbox
from argy.edge.pages.front import Endpoint as Answer
from argy.edge.pages.front import Front
from argy.edge.pages.security import correctable
from argy.edge.pages.start import Start
from argy.edge.pages.views import STATIC, Views

DEV_MAIL: Final = "/dev/mail"


def routes(
    connection: Connection,
    endpoint: Endpoint,
    *,
    views: Views,
    base_url: str,
    mailbox: Path | None = None,
) -> list[BaseRoute]:
    """Every page, none of which needs a token: people have cookies.

    ``mailbox`` is the folder of the development mailbox; without it there is no such page.
    """
    front = Front(connection, FormTokens.of(endpoint), views, base_url=base_url)
    page, form, script = front.page, front.form, front.script
    found: list[BaseRoute] = [
        _get("/", Start(views).show),
        _get(STATIC + "{folder}/{name}", views.file),
        _get("/{tenant}/sign-in", page(sign_in.show, signed_in=False)),
        _post("/{tenant}/sign-in", form(sign_in.send_link, signed_in=False)),
        _get("/{tenant}/mail-sent", page(sign_in.mail_sent, signed_in=False)),
        _get("/{tenant}/link/{secret}", page(sign_in.show_link, signed_in=False)),
        _post("/{tenant}/link/{secret}", form(sign_in.use_link, signed_in=False)),
        _post("/{tenant}/link/{secret}/mine", script(sign_in.use_own_link, signed_in=False)),
        _post("/{tenant}/sign-out", form(sign_in.sign_out, signed_in=False)),
        _post("/{tenant}/passkey/sign-in/options", script(sign_in.begin, signed_in=False)),
        _post("/{tenant}/passkey/sign-in", script(sign_in.finish, signed_in=False)),
        _post("/{tenant}/passkey/step-up", script(sign_in.step_up)),
        _get("/{tenant}/enrol", page(ceremony.enrol, provisional=True)),
        _post("/{tenant}/passkey/new/options", script(ceremony.begin_registration)),
        _post("/{tenant}/passkey/new", script(ceremony.finish_registration)),
        _get("/{tenant}/device", page(device.enter)),
        _post("/{tenant}/device", form(device.describe)),
        _post("/{tenant}/device/decision", form(device.decide)),
        _get("/{tenant}/security", page(security.show)),
        *(
            _post(f"/{{tenant}}/security/{name}", form(correctable(handler)))
            for name, handler in {
                "passkey/rename": security.rename_passkey,
                "passkey/remove": security.remove_passkey,
                "session/end": security.end_session,
                "sessions/end-others": security.end_others,
                "sessions/end-all": security.end_all,
                "notices/seen": security.acknowledge,
                "token/create": security.create_token,
                "token/revoke": security.revoke_token,
            }.items()
        ),
    ]
    if mailbox is not None:
        found.append(_get(DEV_MAIL, Mailbox(mailbox, views, base_url=base_url).show))
    return found


def _get(path: str, answer: Answer) -> Route:
    return Route(path, answer, methods=["GET"])


def _post(path: str, answer: Answer) -> Route:
    return Route(path, answer, methods=["POST"])
