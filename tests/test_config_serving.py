"""What settings of the HTTP API must be together, for those who serve it."""

from __future__ import annotations

from pathlib import Path

import pytest

from zjp.config import Settings, cautions, load
from zjp.errors import ConfigError

SECRET = "5YbGx2qkJ0p9vQwz7TnLr4sKfVhXcMiU"
OPEN = {"SERVER_HOST": "0.0.0.0"}
TLS = {"TLS_ENABLED": "true"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def serving(**environ: str) -> Settings:
    return load({}, environ, serves=True).settings


def refusal(**environ: str) -> str:
    with pytest.raises(ConfigError) as told:
        serving(**environ)
    assert told.value.exit_code == 78
    return str(told.value)


@pytest.mark.covers("settings:AUTH_ENABLED", "settings:SERVER_HOST")
@pytest.mark.parametrize(
    ("host", "asked", "is_on"),
    [
        ("127.0.0.1", "auto", False), ("localhost", "auto", False), ("::1", "auto", False), ("[::1]", "auto", False),
        ("0.0.0.0", "auto", True), ("::", "auto", True), ("node-1", "auto", True), ("127.0.0.1", "true", True), ("0.0.0.0", "false", False),
    ],
)  # fmt: skip
def test_auth_is_on_where_others_can_reach_the_api_unless_told_otherwise(host: str, asked: str, is_on: bool) -> None:
    assert serving(SERVER_HOST=host, AUTH_ENABLED=asked, JWT_SECRET=SECRET).auth_effective is is_on


@pytest.mark.covers("settings:JWT_SECRET")
@pytest.mark.parametrize("environ", [OPEN, {"AUTH_ENABLED": "true"}])
def test_auth_without_a_secret_is_refused_with_how_to_make_one(environ: dict[str, str]) -> None:
    text = refusal(**environ)
    assert "JWT_SECRET=none: auth is on" in text
    assert "make one with: openssl rand -base64 48" in text


@pytest.mark.covers("settings:JWT_SECRET")
@pytest.mark.parametrize(
    "secret",
    [
        "short", SECRET[:31], "your-256-bit-secret-your-256-bit-secret", "change-me-in-production-change-me-in-production",
        "x" * 64, "0101010101010101010101010101010101010101", f"{SECRET},short", "dev-secret-key-change-this-in-production",
    ],
)  # fmt: skip
def test_a_secret_that_is_short_or_known_is_refused_and_not_shown(secret: str) -> None:
    text = refusal(**OPEN, JWT_SECRET=secret)
    assert "JWT_SECRET=***: " in text
    assert secret not in text


@pytest.mark.covers("settings:JWT_SECRET", "settings:secret-files")
@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_secret_s_file_that_gives_none_is_told_once(content: str | None, empty_folder: Path) -> None:
    file = empty_folder / "secret"
    if content is not None:
        file.write_text(content)
    text = refusal(**OPEN, JWT_SECRET_FILE=str(file))
    assert text.startswith("1 setting is wrong, nothing was started:\n  JWT_SECRET")
    assert str(file) in text


@pytest.mark.covers("settings:JWT_SECRET")
def test_a_good_secret_is_taken_and_two_while_one_replaces_the_other() -> None:
    assert serving(**OPEN, JWT_SECRET=SECRET).jwt_secret == SECRET
    serving(**OPEN, JWT_SECRET=f"{SECRET},{SECRET[::-1]}")
    serving(JWT_SECRET="short")  # nothing is signed with it


def test_a_client_that_reads_the_same_environment_needs_no_secret() -> None:
    assert load({}, OPEN).settings.auth_effective
    assert serving(**OPEN, API_ENABLED="false").auth_effective


@pytest.mark.covers("settings:AUTH_DEV_USERS")
def test_users_with_known_passwords_are_refused_where_others_can_reach_them() -> None:
    assert "AUTH_DEV_USERS=true: the passwords of these users are known" in refusal(
        **OPEN, JWT_SECRET=SECRET, AUTH_DEV_USERS="true"
    )
    told = dict(cautions(serving(AUTH_DEV_USERS="true")))
    assert "passwords that everybody knows" in told["auth.dev_users"]


@pytest.mark.covers("settings:AUTH_ENABLED")
def test_an_open_api_without_auth_is_warned_of_at_each_start() -> None:
    (told,) = cautions(serving(**OPEN, AUTH_ENABLED="false"))
    assert told[0] == "auth.off"
    assert "AUTH_ENABLED=false while SERVER_HOST=0.0.0.0 is open to other machines" in told[1]
    assert list(cautions(serving())) == []
    assert list(cautions(serving(**OPEN, AUTH_ENABLED="false", API_ENABLED="false"))) == []


@pytest.mark.covers("settings:METRICS_PORT", "settings:SERVER_PORT", "settings:METRICS_ENABLED")
def test_api_and_metrics_have_ports_of_their_own() -> None:
    assert "METRICS_PORT=8080: the HTTP API has the same port" in refusal(METRICS_PORT="8080")
    serving(METRICS_PORT="8080", METRICS_ENABLED="false")
    serving(METRICS_PORT="0", SERVER_PORT="0")


@pytest.mark.covers("settings:METRICS_PORT", "settings:SERVER_PORT", "settings:ZMQ_BIND")
def test_api_and_metrics_do_not_take_the_port_of_the_node() -> None:
    told = refusal(SERVER_PORT="5570", METRICS_HOST="0.0.0.0", METRICS_PORT="5570", METRICS_ENABLED="true")
    assert "SERVER_PORT=5570: ZMQ_BIND=tcp://127.0.0.1:5570 has the same port (set by" in told
    assert "METRICS_PORT=5570: ZMQ_BIND=tcp://127.0.0.1:5570 has the same port (set by" in told
    serving(SERVER_PORT="5570", SERVER_HOST="127.0.0.2")
    serving(SERVER_PORT="5570", ZMQ_BIND="ipc:///tmp/door:5570")
    serving(METRICS_PORT="5570", METRICS_ENABLED="false")


@pytest.mark.covers("settings:TLS_ENABLED", "settings:TLS_CERT_FILE", "settings:TLS_KEY_FILE")
def test_tls_needs_both_files_and_they_must_be_there(empty_folder: Path) -> None:
    text = refusal(**TLS)
    assert "TLS_CERT_FILE=none: needed" in text
    assert "TLS_KEY_FILE=none: needed" in text
    cert, key = empty_folder / "cert.pem", empty_folder / "key.pem"
    cert.touch()
    text = refusal(**TLS, TLS_CERT_FILE=str(cert), TLS_KEY_FILE=str(key))
    assert text.startswith("1 setting is wrong")
    assert f"TLS_KEY_FILE={key}: cannot be read: No such file or directory" in text
    key.touch()
    assert serving(**TLS, TLS_CERT_FILE=str(cert), TLS_KEY_FILE=str(key)).tls_key_file == key


@pytest.mark.covers("settings:TRUSTED_PROXIES")
def test_trusted_proxies_are_addresses_and_networks() -> None:
    assert serving(TRUSTED_PROXIES=" 10.0.0.0/8, ::1,192.168.1.7").trusted_proxies == "10.0.0.0/8,::1,192.168.1.7"
    for text in ("proxy.local", "10.0.0.1/8", "10.0.0.0/99", "1.2.3.4,"):
        assert f"TRUSTED_PROXIES={text}: " in refusal(TRUSTED_PROXIES=text)
