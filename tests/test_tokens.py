"""Tokens: what a ring signed it accepts until it expires, and nothing else, whatever the header says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from zjp.errors import ConfigError
from zjp.tokens import SKEW_S, Claims, Key, Ring, TokenRefused, pem_key, secret_keys

pytestmark = pytest.mark.covers("http:tokens", "settings:JWT_SECRET")

SECRET, OTHER = "k9Qw3vJx7Lp0Zt5Rb8Ym2Nc6Hd4Fg1Sa-one", "t5Rb8Ym2Nc6Hd4Fg1Sak9Qw3vJx7Lp0Z-two"
NOW = 1_800_000_000
CLAIMS = Claims("ann", "user", 3, "jti-1", NOW, NOW + 3600)
SAID: dict[str, Any] = {
    "iss": "zjp", "aud": "zjp", "sub": "ann", "jti": "jti-1", "iat": NOW, "exp": NOW + 3600, "role": "user", "epoch": 3,
}  # fmt: skip


def ring(secrets: str = SECRET, *more: Key) -> Ring:
    return Ring([*secret_keys(secrets), *more], issuer="zjp", audience="zjp")


KID = secret_keys(SECRET)[0].kid


def forged(said: dict[str, Any] | None = None, key: Any = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    return jwt.encode(SAID if said is None else said, key, algorithm=algorithm, headers={"kid": KID, **header})


def encoded(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_with(secret: bytes, header: dict[str, Any], said: dict[str, Any] = SAID) -> str:
    """Whatever the header says. The library would not sign all of these."""
    text = f"{encoded(header)}.{encoded(said)}"
    return f"{text}.{encoded(hmac.new(secret, text.encode(), hashlib.sha256).digest())}"


def pem(*options: str) -> bytes:
    return subprocess.run(["openssl", "genpkey", *options], capture_output=True, check=True).stdout


def test_claims_come_back_as_they_were_signed() -> None:
    assert ring().read(ring().sign(CLAIMS), NOW) == CLAIMS
    assert ring().read(forged(), NOW) == CLAIMS
    session = Claims("ann", "user", 3, "jti-1", NOW, NOW + 3600, csrf="word")
    assert ring().read(ring().sign(session), NOW) == session


def test_token_ends_with_its_time_to_the_second() -> None:
    token = ring().sign(CLAIMS)
    assert ring().read(token, NOW + 3599.9) == CLAIMS
    with pytest.raises(TokenRefused, match="expired"):
        ring().read(token, NOW + 3600)


def test_clocks_may_differ_by_a_little() -> None:
    token = ring().sign(CLAIMS)
    assert ring().read(token, NOW - SKEW_S) == CLAIMS
    with pytest.raises(TokenRefused, match="future"):
        ring().read(token, NOW - SKEW_S - 1)
    with pytest.raises(TokenRefused, match="future"):
        ring().read(forged({**SAID, "nbf": NOW + 60}), NOW)


@pytest.mark.parametrize("claim", sorted(SAID))
def test_token_without_a_claim_is_refused(claim: str) -> None:
    with pytest.raises(TokenRefused):
        ring().read(forged({name: value for name, value in SAID.items() if name != claim}), NOW)


@pytest.mark.parametrize(
    "wrong",
    [
        {"iss": "other"}, {"aud": "other"}, {"aud": ["zjp", "other"]}, {"exp": str(NOW + 60)}, {"exp": NOW + 60.5}, {"exp": True},
        {"exp": NOW + 400 * 86400}, {"exp": 1e309}, {"iat": "now"}, {"iat": None}, {"nbf": "x"}, {"sub": ""}, {"sub": 7}, {"sub": None},
        {"jti": ""}, {"jti": "x" * 65}, {"jti": 5}, {"role": 3}, {"epoch": "1"}, {"epoch": -1}, {"epoch": True}, {"epoch": 0},
        {"sub": "local:ci"}, {"csrf": 1},
    ],
    ids=str,
)  # fmt: skip
def test_token_with_a_wrong_claim_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(TokenRefused):
        ring().read(forged({**SAID, **wrong}), NOW)


def test_token_of_another_secret_is_refused() -> None:
    for token in (ring(OTHER).sign(CLAIMS), forged(key=OTHER)):
        with pytest.raises(TokenRefused):
            ring().read(token, NOW)


def test_changed_token_is_refused() -> None:
    head, body, signature = ring().sign(CLAIMS).split(".")
    admin = encoded({**SAID, "role": "admin"})
    for token in (
        f"{head}.{admin}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
        f"{head}.{body}",
    ):
        with pytest.raises(TokenRefused):
            ring().read(token, NOW)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, "HS384", "HS512", "RS256", "EdDSA", "ES256"])
def test_algorithm_that_is_not_the_keys_is_refused(algorithm: str | None) -> None:
    with pytest.raises(TokenRefused):
        ring().read(f"{encoded({'alg': algorithm, 'typ': 'JWT', 'kid': KID})}.{encoded(SAID)}.", NOW)


def test_secret_with_another_algorithm_is_refused() -> None:
    for algorithm in ("HS384", "HS512"):
        with pytest.raises(TokenRefused):
            ring().read(forged(key=SECRET * 3, algorithm=algorithm), NOW)


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "../../../dev/null"}, {"kid": "' or 1=1"}, {"kid": ""}, {"kid": None}, {"kid": 7}, {"kid": [KID]}, {"kid": {"a": 1}},
        {"jku": "https://evil.example/jwks"}, {"jwk": {"kty": "oct", "k": "AAAA"}}, {"x5u": "https://evil.example"}, {"x5c": ["AAAA"]},
        {"cty": "JWT"}, {"crit": ["exp"]}, {"b64": False, "crit": ["b64"]}, {"typ": "JWE"}, {"enc": "A256GCM"}, {"zip": "DEF"},
    ],
    ids=str,
)  # fmt: skip
def test_header_that_brings_or_names_a_key_of_its_own_is_refused(header: dict[str, Any]) -> None:
    """Signed with the right secret all the same: nothing of a header but its kid, alg and typ is ever followed."""
    token = signed_with(SECRET.encode(), {"alg": "HS256", "typ": "JWT", "kid": KID, **header})
    with pytest.raises(TokenRefused):
        ring().read(token, NOW)
    assert ring().read(signed_with(SECRET.encode(), {"alg": "HS256", "typ": "JWT", "kid": KID}), NOW) == CLAIMS


def test_public_key_is_not_taken_for_a_secret() -> None:
    """The old trick: an RS256 public key, which everybody has, used as the secret of an HS256 signature."""
    key = pem_key(pem("-algorithm", "rsa"))
    both = Ring([key, *secret_keys(SECRET)], issuer="zjp", audience="zjp")
    assert both.read(both.sign(CLAIMS), NOW) == CLAIMS
    public = key.checker.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for kid in (key.kid, KID):
        with pytest.raises(TokenRefused):
            both.read(signed_with(public, {"alg": "HS256", "typ": "JWT", "kid": kid}), NOW)


@pytest.mark.parametrize("options", [("-algorithm", "ed25519"), ("-algorithm", "rsa")], ids=lambda options: options[1])
def test_key_pair_signs_and_others_can_check_with_what_is_shown(options: tuple[str, ...]) -> None:
    signing = Ring([pem_key(pem(*options))], issuer="zjp", audience="zjp")
    token = signing.sign(CLAIMS)
    assert signing.read(token, NOW) == CLAIMS
    (shown,) = signing.public_keys
    assert "d" not in shown
    public = jwt.PyJWK(dict(shown))
    said = jwt.decode(
        token, public.key, algorithms=[shown["alg"]], audience="zjp", options={"verify_exp": False, "verify_iat": False}
    )
    assert (said["sub"], jwt.get_unverified_header(token)["kid"]) == ("ann", shown["kid"])


@pytest.mark.parametrize(
    "options",
    [
        ("-algorithm", "ed448"),
        ("-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:1024"),
        ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    ],
    ids=lambda options: options[1],
)  # fmt: skip
def test_weak_or_unknown_key_is_refused(options: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="JWT_KEY_FILE"):
        pem_key(pem(*options))


def test_secrets_are_shown_to_nobody() -> None:
    assert ring().public_keys == []


def test_two_secrets_live_while_one_replaces_the_other() -> None:
    before = ring(SECRET).sign(CLAIMS)
    between = ring(f"{OTHER},{SECRET}")
    assert between.read(before, NOW) == CLAIMS
    after = between.sign(CLAIMS)
    assert ring(OTHER).read(after, NOW) == CLAIMS
    with pytest.raises(TokenRefused):
        ring(OTHER).read(before, NOW)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("short", "a secret of 5 bytes, accepted are 32 and more"),
        (f"{SECRET},short", "a secret of 5 bytes"),
        (f"{SECRET},", "a secret of 0 bytes"),
        (f"{SECRET},{SECRET}", "twice"),
        (",".join(f"{SECRET}{number}" for number in range(9)), "9 secrets, the limit is 8"),
    ],
)
def test_secret_that_is_refused_is_told_why_and_not_shown(text: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault) as refused:
        secret_keys(text)
    assert SECRET not in str(refused.value)


def test_overlong_token_is_refused_unread() -> None:
    with pytest.raises(TokenRefused, match="characters"):
        ring().read("a" * 5000, NOW)


@given(
    st.text(max_size=200)
    | st.binary(max_size=120).map(lambda data: base64.urlsafe_b64encode(data).decode() + ".e30.AA")
)
def test_any_text_is_a_token_or_refused(text: str) -> None:
    with pytest.raises(TokenRefused):
        ring().read(text, NOW)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5),
    st.sampled_from(sorted(SAID)),
)
def test_any_value_in_a_signed_claim_is_read_or_refused(value: Any, claim: str) -> None:
    try:
        token = forged({**SAID, claim: value})
    except (TypeError, ValueError):
        return  # what the library does not even sign
    try:
        assert ring().read(token, NOW).name
    except TokenRefused:
        pass
