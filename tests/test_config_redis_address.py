"""REDIS_ADDR is read whole: what it names is used, what is wrong is refused with the reason, and nothing secret is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from zjp.config import load
from zjp.config.redis_address import TAKEN, read
from zjp.errors import ConfigError
from zjp.redis.address import connections

pytestmark = pytest.mark.covers("settings:REDIS_ADDR")

SECRET = "s3cret"


def write_keys(folder: Path) -> None:
    """cert.pem with its key.pem, which is locked.pem as well by the password a+b; other.pem is the key of another; none.pem is empty."""
    mine, another = (trustme.CA().issue_cert("client") for _ in range(2))
    mine.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    mine.private_key_pem.write_to_path(folder / "key.pem")
    another.private_key_pem.write_to_path(folder / "other.pem")
    key = load_pem_private_key(mine.private_key_pem.bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a+b"))
    (folder / "locked.pem").write_bytes(locked)
    (folder / "none.pem").touch()


def refused(address: str) -> str:
    """The one message of a start with it, which is the reason of whoever makes connections by it, too."""
    with pytest.raises(ConfigError) as fault:
        load({}, {"REDIS_ADDR": address})
    with pytest.raises(ConfigError) as later:
        connections(address, password=None, db=0, name="zjp")
    reason = str(later.value).removeprefix("REDIS_ADDR=***: ")
    assert f"1 setting is wrong, nothing was started:\n  REDIS_ADDR=***: {reason} (set by" in str(fault.value)
    assert "accepted: host:port, redis://" in str(fault.value)
    return str(fault.value)


@pytest.mark.parametrize(
    ("address", "seats", "db"),
    [
        ("redis", (("redis", 6379),), None),
        ("redis:7000", (("redis", 7000),), None),
        ("redis://h/3", (("h", 6379),), 3),
        ("redis://h:1/", (("h", 1),), None),
        ("rediss://h?db=4", (("h", 6379),), 4),
        ("redis://h/4?db=4", (("h", 6379),), 4),
        ("redis://[::1]:7000/0", (("::1", 7000),), 0),
        ("[fe80::1%eth0]", (("fe80::1%eth0", 6379),), None),
        ("redis+sentinel://a,b:2,[::1]:3,[::2]/m/5", (("a", 26379), ("b", 2), ("::1", 3), ("::2", 26379)), 5),
        ("sentinel://a/m", (("a", 26379),), None),
        ("rediss+sentinel://a,b:2/m/5?ssl_check_hostname=false&sentinel_password=x", (("a", 26379), ("b", 2)), 5),
        ("unix:///run/r.sock?db=2", (), 2),
    ],
)
def test_hosts_ports_and_database_are_those_of_the_address(
    address: str, seats: tuple[tuple[str, int], ...], db: int | None
) -> None:
    found = read(address)
    assert (found.seats, found.db) == (seats, db)
    assert load({}, {"REDIS_ADDR": address}).settings.redis_addr == address


@pytest.mark.parametrize("scheme", sorted(TAKEN))
def test_user_and_password_are_those_of_the_address_wherever_they_stand(scheme: str) -> None:
    place = {"unix": "/run/r%20.sock", "redis+sentinel": "h/m", "rediss+sentinel": "h/m"}.get(scheme, "h")
    for address in (f"{scheme}://me:p%40%2F%3F+@{place}", f"{scheme}://{place}?username=me&password=p%40%2F%3F%2B"):
        found = read(address)
        assert (found.username, found.password) == ("me", "p@/?+")
        assert found.path == ("/run/r .sock" if scheme == "unix" else "")


def test_plus_is_itself_in_options_too() -> None:
    """Fails where they are read as the fields of a form, in which it is a space: another password, and other ciphers."""
    found = read("rediss+sentinel://h/m?password=a+b&sentinel_password=c+/d=%2B&ssl_ciphers=ECDHE+AESGCM")
    assert found.password == "a+b"
    assert found.options == {"sentinel_password": "c+/d=+", "ssl_ciphers": "ECDHE+AESGCM"}


def test_connection_is_made_with_what_the_address_names_and_the_settings_only_fill_in(tmp_path: Path) -> None:
    made = connections("redis://me@h:1?protocol=3", password="pw", db=3, name="zjp").make()
    assert (made.username, made.password, made.db, int(made.protocol)) == ("me", "pw", 3, 3)  # type: ignore[attr-defined]
    made = connections("unix://:own@/run/r.sock?db=0", password="pw", db=3, name="zjp").make()
    assert (made.password, made.db, made.path) == ("own", 0, "/run/r.sock")  # type: ignore[attr-defined]
    ca = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(ca)
    tls = connections(f"rediss://h?ssl_cert_reqs=none&ssl_check_hostname=false&ssl_ca_certs={ca}", password=None, db=0, name="zjp")
    assert tls.make().ssl_context.ca_certs == str(ca)  # type: ignore[attr-defined]


@pytest.mark.parametrize("option", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_file_that_is_not_there_is_a_wrong_setting_and_no_server_that_is_away(option: str, tmp_path: Path) -> None:
    address = f"rediss://me:secret@h?{option}={tmp_path}/none.pem"
    with pytest.raises(ConfigError, match=f"option {option}: {tmp_path}/none.pem cannot be read: No such file or directory") as told:
        connections(address, password=None, db=0, name="zjp")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("scheme", ["rediss://h", "rediss+sentinel://h/m"])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("ssl_ca_certs={0}/none.pem", "ssl_ca_certs cannot be used: .*no certificate or crl found"),
        ("ssl_certfile={0}/cert.pem&ssl_keyfile={0}/other.pem", "ssl_certfile, ssl_keyfile cannot be used: .*key values mismatch"),
        ("ssl_certfile={0}/cert.pem&ssl_keyfile={0}/locked.pem", "ssl_certfile, ssl_keyfile cannot be used: .*needs ssl_password"),
        ("ssl_certfile={0}/cert.pem&ssl_keyfile={0}/locked.pem&ssl_password=secret", "ssl_certfile, ssl_keyfile, ssl_password cannot be "),
        ("ssl_keyfile={0}/key.pem", "ssl_keyfile cannot be used: .*a key its ssl_certfile"),
        ("ssl_ciphers=nonsense", "ssl_ciphers cannot be used: .*No cipher can be selected"),
    ],
)
def test_what_tls_cannot_use_is_a_wrong_setting_and_no_server_that_is_away(
    scheme: str, options: str, told: str, tmp_path: Path
) -> None:
    """An encrypted key without its password fails on a node that waits for one at its terminal, in the middle of its loop."""
    write_keys(tmp_path)
    with pytest.raises(ConfigError, match=f"REDIS_ADDR=.*: {told}") as refused:
        connections(f"{scheme}?{options.format(tmp_path)}", password=None, db=0, name="zjp")
    assert "secret" not in str(refused.value)


def test_encrypted_key_is_opened_by_its_password(tmp_path: Path) -> None:
    write_keys(tmp_path)
    options = f"ssl_certfile={tmp_path}/cert.pem&ssl_keyfile={tmp_path}/locked.pem&ssl_password=a+b"
    made = connections(f"rediss://h?{options}", password=None, db=0, name="zjp").make()
    made.ssl_context.get()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("redis+cluster://h:1", "cluster URLs are not available in this version"),
        ("http://h:1", "unknown scheme 'http'; use host:port, redis://"),
        ("redis://", "names no host"),
        ("redis://:1/0", "is not host or host:port"),
        ("redis://::1", "an IPv6 address stands in brackets: [::1]:6379"),
        ("redis://[::1", "an IPv6 address stands in brackets"),
        ("redis://h:port", "the port is not a whole number from 1 to 65535"),
        ("redis://h:", "the port is not"),
        ("h:99999", "the port is not"),
        ("redis://a,b", "is not host or host:port"),
        ("redis://h/abc", "database 'abc' is not a whole number from 0 to 65535"),
        ("redis://h/1/2", "database '1/2' is not"),
        ("redis://h/70000", "database '70000' is not"),
        ("redis://h?db=-1", "database '-1' is not"),
        ("redis://h/1?db=2", "db is given twice"),
        ("redis://h?foo=1", "option 'foo' is not taken by redis://, which takes username, password, db, protocol"),
        ("redis://h?max_connections=10", "option 'max_connections' is not taken"),
        ("redis://h?ssl_ca_certs=/ca.pem", "option 'ssl_ca_certs' is not taken by redis://"),
        ("redis://h?protocol=4", "option protocol='4' is not 2 or 3"),
        ("rediss://h?ssl_cert_reqs=maybe", "is not none or optional or required"),
        ("redis://h?protocol=", "an option has no value"),
        ("redis://h?protocol=2&protocol=3", "option 'protocol' is given twice"),
        ("redis+sentinel://h1,h2", "redis+sentinel://host1:port,host2:port/mastername"),
        ("redis+sentinel://h:abc/m", "the port is not a whole number"),
        ("redis+sentinel://h,/m", "names no host"),
        ("redis+sentinel://h/m/x", "database 'x' is not"),
        ("redis+sentinel://h/m?nothing=1", "option 'nothing' is not taken by redis+sentinel://"),
        ("unix://", "it must be unix:///path, with three slashes"),
        ("unix://run/r.sock", "it must be unix:///path, with three slashes"),
    ],
)
def test_address_that_is_none_is_refused_with_the_reason(address: str, reason: str) -> None:
    assert reason in refused(address)


@pytest.mark.parametrize(
    "address",
    [
        f"redis+cluster://h:1?password={SECRET}",
        f"redis://h:1?password={SECRET}&health_check_interval=x",
        f"redis+sentinel://h:1?sentinel_password={SECRET}",
        f"redis+sentinel://:{SECRET}@h:abc/m",
        f"http://:{SECRET}@h:1",
        f"redis://default:{SECRET}",
        f"redis://:{SECRET}@h/x",
        f"redis://h?password={SECRET}&password={SECRET}2",
        f"redis://h?p%61ssword={SECRET}&foo=1",
        f"rediss://h?ssl_password={SECRET}&protocol=x",
        *(f"redis://:a{sign}{SECRET}@h:1/0" for sign in "/?#"),
        *(f"redis://:{SECRET}{sign}b@h:1/0" for sign in "/?#"),
        *(f"redis://:a{sign}{SECRET}@h:x" for sign in "@:[]&"),
        f"redis://:a?x={SECRET}@h",
        f"redis://h?{SECRET}",
        f"redis://h?password=a@{SECRET}&foo=1",
    ],
)
def test_refused_address_does_not_show_its_password(address: str) -> None:
    assert SECRET not in refused(address)
