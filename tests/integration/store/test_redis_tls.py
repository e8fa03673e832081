"""Redis over TLS: the certificate is checked, by the client and on the nonces' own connection."""

import asyncio
import datetime
import ipaddress
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from argy.base.clock import SystemClock
from argy.base.errors import Unavailable
from argy.base.ids import uuid7
from argy.store.nonce import NonceCache
from argy.store.redis import RedisStore


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_path, key_path


@pytest.fixture
async def tls_redis(redis_url: str, tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    """A TLS front of the run's Valkey (whose build has none): its URL and its certificate."""
    cert_path, key_path = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_path, key_path)
    plain = urlsplit(redis_url)

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection(plain.hostname, plain.port)
        await asyncio.gather(
            pump(reader, back_writer), pump(back_reader, writer), return_exceptions=True
        )

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    login = plain.netloc.rpartition("@")[0]
    yield f"rediss://{login}@127.0.0.1:{port}{plain.path}", cert_path
    server.close()
    await server.wait_closed()


async def test_nonces_travel_over_tls(tls_redis: tuple[str, Path]) -> None:
    url, authority = tls_redis
    store = await RedisStore.open(url, tls_ca=authority)
    cache = NonceCache(store, timeout_ms=2000)
    call = (uuid7(), os.urandom(16), SystemClock().now_ms() + 35_000)
    assert [await cache.seen(*call), await cache.seen(*call)] == [False, True]
    await cache.close()
    await store.close()


async def test_an_unknown_authority_is_refused(tls_redis: tuple[str, Path]) -> None:
    url, authority = tls_redis
    with pytest.raises(Unavailable):
        await RedisStore.open(url)
    store = await RedisStore.open(url, tls_ca=authority)
    trusting_nobody = NonceCache(RedisStore(store.client, url=url, cluster=False))
    with pytest.raises(Unavailable) as caught:
        await trusting_nobody.seen(uuid7(), os.urandom(16), SystemClock().now_ms() + 35_000)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
    await trusting_nobody.close()
    await store.close()
