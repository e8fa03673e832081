"""An internal service that lets Argy decide, over gRPC and over HTTP."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

EXAMPLE = Path(__file__).parent / "example" / "projects.py"
SERVICE = "/example.projects.v1.ProjectService/"
DENIED = grpc.StatusCode.PERMISSION_DENIED


@dataclass
class Example:
    """The running example."""

    grpc_port: int
    http_port: int
    tenant_id: str

    def call(self, method: str, project: str, metadata: dict[str, str]) -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            kind: Any = channel.unary_stream if method == "Watch" else channel.unary_unary
            rpc = kind(SERVICE + method, StringValue.SerializeToString, StringValue.FromString)
            answer = rpc(StringValue(value=project), timeout=30, metadata=tuple(metadata.items()))
            return [item.value for item in answer] if method == "Watch" else answer.value

    def code_of(self, method: str, project: str, metadata: dict[str, str]) -> grpc.StatusCode:
        with pytest.raises(grpc.RpcError) as refused:
            self.call(method, project, metadata)
        return refused.value.code()

    def http(self, verb: str, path: str, headers: dict[str, str]) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=30)
        try:
            connection.request(verb, path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            # What the HTTP server refuses before the application sees it is told in plain text.
            is_json = "json" in (response.getheader("content-type") or "")
            return response.status, json.loads(body) if is_json else None
        finally:
            connection.close()

    def as_(self, subject: str) -> dict[str, str]:
        return {"x-user": subject, "x-tenant-id": self.tenant_id}


def start_example(platform: Any, tmp_path: Path) -> "subprocess.Popen[str]":
    keys = tmp_path / "example.json"
    argy = Path(sys.executable).with_name("argy")
    ring = platform.home / "keys" / "signing-keys.json"
    subprocess.run([argy, "keys", "issue", ring, "--source", "example", "--out", keys], check=True)
    return subprocess.Popen(
        [sys.executable, EXAMPLE],
        env={
            **os.environ,
            "ARGY_TARGET": platform.endpoint.target,
            "ARGY_CA_FILE": platform.endpoint.ca_file,
            "ARGY_CLIENT_KEYS_FILE": str(keys),
        },
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def example(
    platform: Any,
    rows: Callable[..., list[dict[str, Any]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Example]:
    """The example service, signed in to the platform as itself."""
    (acme,) = [row for row in rows("tenant", "list") if row["slug"] == "acme"]
    process = start_example(platform, tmp_path_factory.mktemp("example"))
    assert process.stdout is not None
    ports = json.loads(process.stdout.readline())
    yield Example(ports["grpc"], ports["http"], acme["tenant_id"])
    process.terminate()
    assert process.wait(60) == 0
    process.stdout.close()


def test_grpc_lets_in_whom_the_policy_lets_in(example: Example, people: dict[str, str]) -> None:
    alice, bob = example.as_(people["Alice"]), example.as_(people["Bob"])
    assert example.call("Deploy", "alpha", alice) == "deployed alpha"
    assert example.code_of("Deploy", "alpha", bob) == DENIED
    assert example.call("Watch", "alpha", alice) == ["alpha built", "alpha deployed"]
    assert example.code_of("Watch", "alpha", example.as_("user:nobody")) == DENIED


def test_grpc_refuses_strangers_and_undeclared_methods(
    example: Example, people: dict[str, str]
) -> None:
    assert example.code_of("Deploy", "alpha", {}) == grpc.StatusCode.UNAUTHENTICATED
    assert example.code_of("Forgotten", "alpha", example.as_(people["Alice"])) == DENIED
    assert example.code_of("Nothing", "x", {}) == grpc.StatusCode.UNIMPLEMENTED
    # A resource that is none is refused, and not asked about as another one.
    for project in ("", "a b", "*", "x" * 2000):
        assert example.code_of("Deploy", project, example.as_(people["Bob"])) != (
            grpc.StatusCode.OK
        )


def test_http_lets_in_whom_the_policy_lets_in(example: Example, people: dict[str, str]) -> None:
    alice, bob = example.as_(people["Alice"]), example.as_(people["Bob"])
    assert example.http("POST", "/projects/alpha/deploy", alice)[0] == 200
    status, problem = example.http("POST", "/projects/alpha/deploy", bob)
    assert status == 403
    assert problem["title"]
    assert example.http("GET", "/healthz", {})[0] == 200


def test_http_refuses_strangers_and_undeclared_routes(
    example: Example, people: dict[str, str]
) -> None:
    assert example.http("GET", "/projects/alpha", {})[0] == 401
    alice = example.as_(people["Alice"])
    for verb, path in (
        ("DELETE", "/projects/alpha"),
        ("POST", "/projects/alpha/destroy"),
        ("GET", "/projects/alpha/extra/deep"),
        ("OPTIONS", "/projects/alpha"),
        ("post", "/projects/alpha/deploy"),
    ):
        assert example.http(verb, path, alice)[0] in (400, 403, 404, 405), (verb, path)


@pytest.mark.parametrize(
    "path",
    [
        "/projects/..%2fhealthz",
        "/projects//deploy",
        "//projects/alpha/deploy",
        "/healthz/../projects/alpha/deploy",
        "/projects/alpha%2fdeploy",
        "/projects/alpha/deploy/",
        "/healthz%00",
        "/projects/%2a/deploy",
    ],
)
def test_no_spelling_of_a_path_gets_around_the_guard(
    example: Example, people: dict[str, str], path: str
) -> None:
    assert example.http("POST", path, example.as_(people["Bob"]))[0] in (400, 403, 404)


def test_with_the_platform_away_everything_is_refused(
    platform_factory: Callable[..., Any], tmp_path: Path
) -> None:
    platform = platform_factory()
    alice = platform.ready["checks"][0]["subject"]
    process = start_example(platform, tmp_path)
    try:
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        example = Example(ports["grpc"], ports["http"], "01900000-0000-7000-8000-000000000000")
        platform.stop()
        assert example.code_of("Deploy", "alpha", example.as_(alice)) == (
            grpc.StatusCode.UNAVAILABLE
        )
        assert example.http("POST", "/projects/alpha/deploy", example.as_(alice))[0] == 503
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close() if process.stdout else None
