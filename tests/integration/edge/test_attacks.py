"""Attacks on the HTTP face, one a test."""

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from argy.base.secret_token import new_token
from argy.client.pep_tokens import add_token, revoke_token

PATH = "/access/v1/evaluation"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
BEHIND = 503
"""What a request gets that passed every check of the edge: nothing serves behind it here."""


def post(http: httpx.Client, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http.post(PATH, content=content, headers=headers)


# --- who calls ------------------------------------------------------------------------------------


def test_the_right_token_passes_all_checks(http: Any, asked: Any, problem_of: Any) -> None:
    answer = post(http, asked)
    assert problem_of(answer)["reason"] == "PLATFORM_UNAVAILABLE"
    assert answer.status_code == BEHIND


def test_without_a_token_nothing_is_decided(http: Any, problem_of: Any) -> None:
    del http.headers["authorization"]
    answer = http.get(PATH)
    assert problem_of(answer)["reason"] == "TOKEN_MISSING"
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="argy"'


@pytest.mark.parametrize("path", ["/nothing", "/acme/nothing", "/healthz/", "/%2e/healthz"])
@pytest.mark.parametrize("token", [True, False])
def test_what_is_not_there_is_not_found(http: Any, problem_of: Any, path: str, token: bool) -> None:
    if not token:
        del http.headers["authorization"]
    answer = http.get(path)
    assert (answer.status_code, problem_of(answer)["reason"]) == (404, "PATH_UNKNOWN")


def test_a_browser_is_told_in_words_what_a_program_is_told_as_json(http: Any) -> None:
    del http.headers["authorization"]
    answer = http.get("/nothing", headers={"accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    assert "Nothing to see here" in answer.text


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        f"Bearer {new_token('pep')}",
        f"Bearer {new_token('key')}",
        "Bearer " + "x" * 5000,
        "Bearer \u00e9",
    ],
    # Tokens are new in each process that collects the tests.
    ids=["none", "unknown", "of-another-kind", "too-long", "not-ascii"],
)
def test_a_wrong_token_is_refused(
    http: Any, asked: Any, problem_of: Any, authorization: str
) -> None:
    answer = http.post(PATH, json=asked, headers={"authorization": authorization.encode("latin-1")})
    assert problem_of(answer)["reason"] == "TOKEN_INVALID"
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="argy", error="invalid_token"'
    assert authorization[7:] not in answer.text or not authorization[7:]


def test_basic_authentication_is_told_that_there_are_no_passwords(
    http: Any, asked: Any, problem_of: Any
) -> None:
    for path in (PATH, "/acme/credentials"):
        answer = http.post(path, json=asked, headers={"authorization": "Basic YWRhOnNlY3JldA=="})
        assert problem_of(answer)["reason"] == "PASSWORD_UNSUPPORTED"
        assert "there are no passwords here" in problem_of(answer)["detail"]
        assert answer.status_code == 401
        assert "Basic" not in answer.headers["www-authenticate"]


def test_the_password_grant_is_told_that_there_are_no_passwords(http: Any) -> None:
    grant = {"grant_type": "password", "username": "ada", "password": "secret"}
    form = {"content-type": "application/x-www-form-urlencoded"}
    answer = http.post("/acme/oauth/token", data=grant, headers=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")
    assert "no passwords" in answer.json()["error_description"]
    basic = {**form, "authorization": "Basic YWRhOnNlY3JldA=="}
    for path in ("/acme/oauth/token", "/acme/oauth/device_authorization"):
        refused = http.post(path, data={"client_id": "argy-cli"}, headers=basic)
        assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
        assert "no passwords" in refused.json()["error_description"]


def test_two_authorization_headers_are_refused(edge: Any, http: Any, problem_of: Any) -> None:
    token = http.headers.pop("authorization")
    answer = http.post(
        PATH, headers=[("authorization", token), ("authorization", f"Bearer {new_token('pep')}")]
    )
    assert problem_of(answer)["reason"] == "TOKEN_INVALID"


def test_a_token_in_the_query_is_none(http: Any, edge: Any) -> None:
    del http.headers["authorization"]
    assert http.post(f"{PATH}?access_token={edge.files.token}").status_code == 401


def test_a_revoked_token_is_refused_at_once_and_a_new_one_accepted_at_once(
    http: Any, edge: Any, asked: Any
) -> None:
    path = edge.files.tokens
    token, entry = add_token(path, service="other", tenant_id=None, now=datetime.now(UTC))
    mine = {"authorization": f"Bearer {token}"}
    assert http.post(PATH, json=asked, headers=mine).status_code == BEHIND
    revoke_token(path, entry.token_id)
    assert http.post(PATH, json=asked, headers=mine).status_code == 401
    assert http.post(PATH, json=asked).status_code == BEHIND


def test_while_the_token_file_can_not_be_trusted_nobody_is(
    http: Any, edge: Any, asked: Any, problem_of: Any
) -> None:
    path = edge.files.tokens
    path.chmod(0o644)
    try:
        assert problem_of(http.post(PATH, json=asked))["reason"] == "TOKENS_UNREADABLE"
    finally:
        path.chmod(0o600)
    assert problem_of(http.post(PATH, json=asked))["reason"] == "PLATFORM_UNAVAILABLE"


# --- what is asked --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tenant", "reason"),
    [
        (None, "TENANT_REQUIRED"),
        ("acme", "MALFORMED_ID"),
        ("", "MALFORMED_ID"),
        ("01A2104A-5732-76CA-9C73-4B16F9403C74", "MALFORMED_ID"),
        ("01a2104a-5732-76ca-9c73-4b16f9403c74, x", "MALFORMED_ID"),
    ],
)
def test_the_tenant_is_named_once_and_as_a_uuid(
    http: Any, asked: Any, problem_of: Any, tenant: str | None, reason: str
) -> None:
    del http.headers["x-tenant-id"]
    headers = {} if tenant is None else {"x-tenant-id": tenant}
    answer = http.post(PATH, json=asked, headers=headers)
    assert answer.status_code == 400
    told = problem_of(answer)
    assert told["reason"] == reason
    assert told["errors"][0]["header"] == "X-Tenant-Id"


def test_two_tenants_are_refused(http: Any, asked: Any, problem_of: Any) -> None:
    tenant = http.headers.pop("x-tenant-id")
    answer = http.post(PATH, json=asked, headers=[("x-tenant-id", tenant), ("x-tenant-id", tenant)])
    assert problem_of(answer)["reason"] == "MALFORMED_ID"


def test_a_token_s_own_tenant_serves_where_none_is_named(http: Any, edge: Any, asked: Any) -> None:
    tenant = http.headers.pop("x-tenant-id")
    token, _ = add_token(
        edge.files.tokens, service="demo", tenant_id=UUID(tenant), now=datetime.now(UTC)
    )
    mine = {"authorization": f"Bearer {token}"}
    assert http.post(PATH, json=asked, headers=mine).status_code == BEHIND


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/json; charset=utf-16",
        "text/plain; application/json",
    ],
)
def test_a_wrong_content_type_is_refused(
    http: Any, asked: Any, problem_of: Any, content_type: str
) -> None:
    answer = post(http, asked, **{"content-type": content_type})
    assert answer.status_code == 400
    assert problem_of(answer)["reason"] == "MEDIA_TYPE_NOT_JSON"


@pytest.mark.parametrize("content_type", ["Application/JSON", 'application/json; charset="UTF-8"'])
def test_the_right_content_type_has_several_spellings(
    http: Any, asked: Any, content_type: str
) -> None:
    assert post(http, asked, **{"content-type": content_type}).status_code == BEHIND


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[1]",
        b'{"subject":{"type":"user","id":"a"},"subject":{"type":"user","id":"b"}}',
        b'{"a":' * 100_000,
        b'{"a":NaN}',
        b'{"a":"\xff"}',
    ],
    ids=["empty", "array", "duplicate keys", "deep", "NaN", "not UTF-8"],
)
def test_a_body_that_is_no_single_json_object_is_refused(
    http: Any, problem_of: Any, body: bytes
) -> None:
    answer = post(http, body)
    assert answer.status_code == 400
    assert problem_of(answer)["reason"] == "MALFORMED_JSON"


def test_a_missing_member_is_named_by_its_pointer(http: Any, asked: Any, problem_of: Any) -> None:
    del asked["resource"]["id"]
    told = problem_of(post(http, asked))
    assert told["errors"] == [{"pointer": "/resource/id", "detail": "/resource/id is required"}]


@pytest.mark.parametrize("path", ["/nothing", "/access/v1/evaluation/", "/access/v1/../../etc"])
def test_an_unknown_path_is_not_found(http: Any, problem_of: Any, path: str) -> None:
    assert problem_of(http.post(path))["reason"] == "PATH_UNKNOWN"


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_an_unknown_method_is_refused_with_those_that_exist(
    http: Any, problem_of: Any, method: str
) -> None:
    answer = http.request(method, PATH)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert problem_of(answer)["reason"] == "METHOD_NOT_ALLOWED"


# --- too much -------------------------------------------------------------------------------------


def chunks() -> Iterator[bytes]:
    for _ in range(20):
        yield b" " * 65_536


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
def test_an_oversized_body_is_refused(http: Any, problem_of: Any, chunked: bool) -> None:
    answer = http.post(PATH, content=chunks() if chunked else b" " * 1_300_000)
    assert ("content-length" in answer.request.headers) is not chunked
    assert answer.status_code == 413
    assert problem_of(answer)["reason"] == "BODY_TOO_LARGE"
    assert answer.headers["connection"] == "close"


def test_a_body_of_the_full_size_is_read(http: Any, asked: Any) -> None:
    body = json.dumps(asked).encode()
    assert post(http, body + b" " * (1024 * 1024 - len(body))).status_code == BEHIND


def test_a_default_context_can_not_be_multiplied_beyond_a_call(
    http: Any, asked: Any, problem_of: Any
) -> None:
    body = {**asked, "context": {"x": "y" * 16_000}, "evaluations": [{}] * 1000}
    answer = http.post("/access/v1/evaluations", json=body)
    assert answer.status_code == 413
    assert problem_of(answer)["errors"][0]["pointer"] == "/evaluations"


def test_a_context_beyond_what_the_services_take_is_refused(
    http: Any, asked: Any, problem_of: Any
) -> None:
    answer = post(http, {**asked, "context": {"x": "y" * 20_000}})
    assert answer.status_code == 400
    assert problem_of(answer)["reason"] == "CONTEXT_TOO_LARGE"


@pytest.mark.parametrize("headers", [{f"x-{n}": "y" for n in range(70)}, {"x-a": "y" * 17_000}])
def test_too_many_headers_are_refused(
    http: Any, asked: Any, problem_of: Any, headers: dict[str, str]
) -> None:
    answer = http.post(PATH, json=asked, headers=headers)
    assert answer.status_code == 431
    assert problem_of(answer)["reason"] == "HEADERS_TOO_LARGE"


def test_a_head_without_end_is_cut_off(edge: Any) -> None:
    with closing(edge.connect()) as wire:
        wire.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-a: " + b"y" * 65_536)
        wire.sendall(b"y")
        received = read_all(wire)
        assert received.startswith(b"HTTP/1.1 431 ")
        assert b"HEADERS_TOO_LARGE" in received
        # Whoever goes on sending is not listened to for long.
        limit = time.monotonic() + 60
        with pytest.raises(OSError):  # noqa: PT011 - reset, or a broken pipe
            _send_until(wire, limit)


def _send_until(wire: ssl.SSLSocket, limit: float) -> None:
    while time.monotonic() < limit:
        wire.send(b"y" * 4096)


def test_a_slow_head_is_cut_off(slow_edge: Any) -> None:
    with closing(slow_edge.connect()) as wire:
        wire.sendall(b"GET /healthz HTTP/1.1\r\nhost: ")
        assert b" 408 " in wire.recv(65_536)
        assert wire.recv(1) == b""


def test_a_connection_that_says_nothing_is_cut_off(slow_edge: Any) -> None:
    with closing(slow_edge.connect()) as wire:
        assert b" 408 " in wire.recv(65_536)
        assert wire.recv(1) == b""


def test_line_ends_do_not_hold_a_connection(slow_edge: Any) -> None:
    with closing(slow_edge.connect()) as wire:
        wire.sendall(b"GET /nothing HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert b" 404 " in wire.recv(65_536)
        wire.sendall(b"\r\n")
        assert b" 408 " in read_all(wire)


def test_a_slow_body_is_cut_off(slow_edge: Any) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in slow_edge.headers.items())
    with closing(slow_edge.connect()) as wire:
        wire.sendall(
            f"POST {PATH} HTTP/1.1\r\nhost: x\r\n{head}content-length: 100\r\n\r\n{{".encode()
        )
        received = read_all(wire)
    assert b" 408 " in received
    assert b"BODY_TOO_SLOW" in received
    assert b"connection: close" in received


def test_more_requests_than_the_limit_are_told_to_come_again(
    slow_edge: Any, asked: Any, problem_of: Any
) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in slow_edge.headers.items())
    head += "expect: 100-continue\r\ncontent-length: 9\r\n"
    waiting = f"POST {PATH} HTTP/1.1\r\nhost: x\r\n{head}\r\n"
    with closing(slow_edge.connect()) as one, closing(slow_edge.connect()) as two:
        for wire in (one, two):
            wire.sendall(waiting.encode())
            # It is being served: its body is asked for.
            assert b" 100 " in wire.recv(1024)
        with slow_edge.client() as http:
            answer = http.post(PATH, json=asked)
        assert answer.status_code == 503
        assert problem_of(answer)["reason"] == "TOO_BUSY"
        assert answer.headers["retry-after"] == "1"


# --- what is told of what is behind ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "form"),
    [
        ("GET", "/.well-known/oauth-authorization-server/acme", {}),
        ("GET", "/.well-known/jwks.json", {}),
        ("POST", "/acme/oauth/token", {"grant_type": "refresh_token", "refresh_token": "x"}),
        ("POST", "/acme/oauth/token", {"grant_type": GRANT, "device_code": "x"}),
        ("POST", "/acme/oauth/revoke", {"token": "x"}),
        ("POST", "/acme/oauth/introspect", {"token": "x"}),
        ("POST", "/acme/oauth/device_authorization", {}),
        ("GET", "/acme/whoami", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_no_address_of_a_service_is_told(
    http: Any, problem_of: Any, method: str, path: str, form: dict[str, str]
) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    data = {"client_id": "x", **form} if method == "POST" else None
    answer = http.request(method, path, data=data, headers=headers)
    assert answer.status_code == BEHIND
    assert problem_of(answer)["reason"] == "PLATFORM_UNAVAILABLE"


def test_what_a_device_is_refused_is_not_stored(http: Any) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded", "authorization": "Basic eDp5"}
    answer = http.post("/acme/oauth/device_authorization", data={}, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="argy"'
    assert (answer.headers["cache-control"], answer.headers["pragma"]) == ("no-store", "no-cache")


# --- HTTP and TLS ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    ["a b", "é", "x" * 4000, "a\tb", '"{}\\'],
    ids=["space", "latin", "long", "tab", "json"],
)
def test_any_request_id_is_repeated_as_it_came(http: Any, asked: Any, value: str) -> None:
    sent = value.encode("latin-1")
    for headers in ({"x-request-id": sent}, {"x-request-id": sent, "authorization": "Bearer x"}):
        answer = http.post(PATH, json=asked, headers=headers)
        given = [pair for pair in answer.headers.raw if pair[0].lower() == b"x-request-id"]
        assert [told for _, told in given] == [sent]
        if answer.is_error:
            assert answer.json()["request_id"] == value[:256]


def test_an_empty_request_id_is_none(http: Any, asked: Any) -> None:
    answer = http.post(PATH, json=asked, headers={"x-request-id": ""})
    assert len(answer.headers["x-request-id"]) == 36


def test_two_request_ids_are_refused(http: Any, asked: Any, problem_of: Any) -> None:
    headers = httpx.Headers([("x-request-id", "a"), ("x-request-id", "b")])
    answer = http.post(PATH, json=asked, headers=headers)
    assert answer.status_code == 400
    told = problem_of(answer)
    assert told["errors"][0]["header"] == "X-Request-ID"
    assert told["request_id"] not in ("a", "b")


@pytest.mark.parametrize("injected", [b"a\r\nx-evil: 1", b"a\nx-evil: 1", b"a\rx-evil: 1", b"a\0"])
def test_a_request_id_injects_no_header(edge: Any, injected: bytes) -> None:
    received = edge.send_raw(
        b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: "
        + injected
        + b"\r\n\r\n"
    )
    head = received.split(b"\r\n\r\n")[0].lower()
    assert b"\r\nx-evil" not in head
    assert received.count(b"HTTP/1.1 ") == 1


def test_a_request_id_is_repeated_on_answers_and_refusals(http: Any, asked: Any) -> None:
    for path in (PATH, "/healthz", "/nothing"):
        answer = http.post(path, json=asked, headers={"x-request-id": "a/b?c=1"})
        assert answer.headers.get_list("x-request-id") == ["a/b?c=1"]


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        b"content-length: 4\r\ntransfer-encoding: chunked\r\n",
        b"transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        b"content-length: 4\r\ncontent-length: 5\r\n",
        b"content-length: 4, 5\r\n",
        b"content-length: +4\r\n",
        b"content-length: -4\r\n",
        b"content-length: 0x4\r\n",
        b"transfer-encoding: xchunked\r\n",
        b"transfer-encoding: chunked, identity\r\n",
        b"transfer-encoding : chunked\r\n",
        b"transfer-encoding: chunked\r\n x: y\r\n",
    ],
)
def test_a_request_whose_end_is_in_doubt_is_refused(edge: Any, headers: bytes) -> None:
    received = edge.send_raw(
        b"POST /healthz HTTP/1.1\r\nhost: x\r\n" + headers + b"\r\n0\r\n\r\n" + SMUGGLED
    )
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert "/smuggled" not in edge.log


@pytest.mark.parametrize("hosts", [b"", b"host: a\r\nhost: b\r\n"], ids=["none", "two"])
def test_a_request_without_one_host_is_refused(edge: Any, hosts: bytes) -> None:
    received = edge.send_raw(b"GET /healthz HTTP/1.1\r\nconnection: close\r\n" + hosts + b"\r\n")
    assert received.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\nhost: x\n\n\x00",
        b"NONSENSE / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET \xff HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(edge: Any, sent: bytes) -> None:
    with closing(edge.connect()) as wire:
        wire.sendall(sent)
        received = read_all(wire)
    assert received == b"" or received.split(b" ")[1] in (b"400", b"401")


def test_the_edge_fetches_nothing_for_anybody(edge: Any) -> None:
    token = f"authorization: Bearer {edge.files.token}\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as bait:
        bait.settimeout(0.5)
        address = b"127.0.0.1:%d" % bait.getsockname()[1]
        for line in (b"GET http://%s/x" % address, b"CONNECT %s" % address, b"GET //%s/" % address):
            received = edge.send_raw(
                line + b" HTTP/1.1\r\nhost: %s\r\nconnection: close\r\n" % address + token + b"\r\n"
            )
            assert received == b"" or received.split(b" ")[1] in (b"400", b"404")
        with pytest.raises(TimeoutError):
            bait.accept()


def test_the_host_header_is_not_believed(http: Any, edge: Any) -> None:
    answer = http.get(
        "/.well-known/authzen-configuration",
        headers={"host": "evil.example", "x-forwarded-host": "evil.example"},
    )
    assert answer.status_code == 200
    assert "evil" not in answer.text
    assert answer.json()["policy_decision_point"] == f"https://127.0.0.1:{edge.port}"


def test_where_passkeys_are_used_is_told_to_anybody_and_not_by_the_request(
    http: Any, edge: Any
) -> None:
    del http.headers["authorization"]
    answer = http.get("/.well-known/webauthn", headers={"host": "evil.example"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"origins": [f"https://127.0.0.1:{edge.port}"]}
    assert http.post("/.well-known/webauthn", content="{}").status_code == 405


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_before_1_2_is_refused(edge: Any, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(edge.files.certificates.ca_file)
    # OpenSSL itself offers these versions at its lowest level of security only.
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with pytest.raises((ssl.SSLError, ConnectionError)):
        edge.connect(context)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(edge: Any, version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context(cafile=str(edge.files.certificates.ca_file))
    context.minimum_version = context.maximum_version = version
    with closing(edge.connect(context)) as wire:
        assert wire.version() == version.name.replace("_", ".")


def test_plain_http_is_not_answered(edge: Any) -> None:
    with socket.create_connection(("127.0.0.1", edge.port), timeout=60) as wire:
        wire.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        try:
            received = wire.recv(1024)
        except ConnectionError:
            received = b""
    assert b"HTTP" not in received


def test_no_token_reaches_the_log(http: Any, edge: Any, asked: Any) -> None:
    post(http, asked)
    wrong = new_token("pep")
    http.post(PATH, json=asked, headers={"authorization": f"Bearer {wrong}"})
    assert "PLATFORM_UNAVAILABLE" in edge.log or "argy.edge.access" in edge.log
    assert edge.files.token not in edge.log
    assert wrong not in edge.log


def read_all(wire: ssl.SSLSocket) -> bytes:
    received = b""
    try:
        while part := wire.recv(65_536):
            received += part
    except (ConnectionError, ssl.SSLError):
        pass
    return received


def test_refreshing_and_revoking_are_bounded_by_network(http: Any, problem_of: Any) -> None:
    """Nobody guesses tokens, or keeps the services busy, from one place."""
    del http.headers["authorization"]
    http.headers["content-type"] = "application/x-www-form-urlencoded"
    paths = ("/acme/oauth/token", "/acme/oauth/revoke")
    # The rate lets some through for good, and a slow machine asks for hardly more.
    for number in range(20_000):
        answer = http.post(paths[number % 2], content=b"")
        if answer.status_code != 400:
            break
    assert answer.status_code == 429
    assert number >= 600
    assert problem_of(answer)["reason"] == "RATE_LIMITED"
    assert int(answer.headers["retry-after"]) >= 1
