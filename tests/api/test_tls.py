"""TLS: versions, and certificates that are changed while connections are open. Real handshakes, over loopback."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from zjp.api.tls import reload, ssl_context
from zjp.config import Settings
from zjp.errors import ConfigError

pytestmark = pytest.mark.covers("http:tls", "settings:TLS_ENABLED", "settings:TLS_CERT_FILE", "settings:TLS_KEY_FILE")

CA = trustme.CA()


class Files:
    """A certificate and its key where the settings say."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"
        self.settings = Settings(tls_enabled=True, tls_cert_file=self.cert, tls_key_file=self.key)

    def issue(self) -> trustme.LeafCert:
        made = CA.issue_cert("localhost")
        self.cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        self.key.write_bytes(made.private_key_pem.bytes())
        return made


@pytest.fixture
def files(tmp_path: Path) -> Files:
    files = Files(tmp_path)
    files.issue()
    return files


class Server:
    """Echoes lines."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self.context, self.port = context, port

    async def connect(self, **versions: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        trust = ssl.create_default_context()
        CA.configure_trust(trust)
        for name, version in versions.items():
            setattr(trust, name, version)
        return await asyncio.open_connection("localhost", self.port, ssl=trust, server_hostname="localhost")

    async def serial(self) -> int:
        """Of the certificate that a new connection gets."""
        _, writer = await self.connect()
        serial = int(writer.get_extra_info("peercert")["serialNumber"], 16)
        writer.close()
        await writer.wait_closed()
        return serial


@pytest.fixture
async def server(files: Files) -> AsyncIterator[Server]:
    context = ssl_context(files.settings)
    assert context is not None

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    listener = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
    async with listener:
        yield Server(context, listener.sockets[0].getsockname()[1])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_later_versions_are_spoken(server: Server, version: ssl.TLSVersion) -> None:
    _, writer = await server.connect(minimum_version=version, maximum_version=version)
    assert writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
    writer.close()
    await writer.wait_closed()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_older_versions_are_not(server: Server, version: ssl.TLSVersion) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await server.connect(minimum_version=version, maximum_version=version)


async def test_new_connections_get_the_new_certificate_and_open_ones_go_on(files: Files, server: Server) -> None:
    reader, writer = await server.connect()
    before = await server.serial()
    files.issue()
    reload(server.context, files.settings)
    assert await server.serial() != before
    writer.write(b"still here\n")
    assert await reader.readline() == b"still here\n"
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "fault", ["no cert", "no key", "no PEM", "half a PEM", "other key", "with a password", "folder"]
)
async def test_wrong_files_leave_the_certificate_that_was_there(files: Files, server: Server, fault: str) -> None:
    before = await server.serial()
    spoil(files, fault)
    with pytest.raises(ConfigError, match=r"TLS_(CERT|KEY)_FILE="):
        reload(server.context, files.settings)
    assert await server.serial() == before
    if fault == "folder":
        files.cert.rmdir()
    files.issue()
    reload(server.context, files.settings)
    assert await server.serial() != before


def spoil(files: Files, fault: str) -> None:
    new = CA.issue_cert("localhost")
    cert = b"".join(blob.bytes() for blob in new.cert_chain_pems)
    if fault == "no cert":
        files.cert.unlink()
    elif fault == "no key":
        files.key.unlink()
    elif fault == "no PEM":
        files.cert.write_text("hello")
    elif fault == "half a PEM":
        files.cert.write_bytes(cert[: len(cert) // 3])
    elif fault == "other key":
        files.cert.write_bytes(cert)
    elif fault == "folder":
        files.cert.unlink()
        files.cert.mkdir()
    else:
        from cryptography.hazmat.primitives import serialization as form

        key = form.load_pem_private_key(new.private_key_pem.bytes(), None)
        locked = form.BestAvailableEncryption(b"word")
        files.cert.write_bytes(cert)
        files.key.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, locked))


def test_wrong_files_stop_the_start_with_what_to_do(files: Files) -> None:
    assert ssl_context(Settings()) is None
    with pytest.raises(ConfigError, match="TLS_KEY_FILE is not set; both"):
        ssl_context(replace(files.settings, tls_key_file=None))
    with pytest.raises(ConfigError, match="TLS_CERT_FILE is not set; both"):
        ssl_context(replace(files.settings, tls_cert_file=None))
    files.key.write_text("nothing")
    with pytest.raises(ConfigError, match="no certificate chain with its key, in PEM form and without a password"):
        ssl_context(files.settings)


async def test_client_refuses_a_certificate_of_another_name(files: Files, server: Server) -> None:
    made = CA.issue_cert("other.example")
    files.cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    files.key.write_bytes(made.private_key_pem.bytes())
    reload(server.context, files.settings)
    with pytest.raises(ssl.SSLCertVerificationError):
        await server.connect()
