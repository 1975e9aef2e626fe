"""Tokens of the HTTP door: signed claims (JWT) by a ring of keys. Knows nothing of users or HTTP, and takes the time from its caller.

    Ring.sign(Claims)  ──►  text  ──►  Ring.read(text, now)  ──►  Claims, or TokenRefused

A key has a name (`kid`) and ONE algorithm. The token's header chooses a key by its name and nothing else: an algorithm that is not the
key's, a key within the header (jwk), an address of one (jku, x5u), a path as a name, a token within a token: all are refused before
anything is computed. So no RS256 public key can be taken for an HS256 secret.

Rotation: the ring signs with its first key and accepts all. `JWT_SECRET=new,old` has two secrets live; when the last token signed with the
old one has expired, `old` is left out. A running process changes its ring on SIGHUP. The name of a secret is made from it, so that all
nodes with the same secret agree on it.

A token whose `epoch` is 0 was signed by hand (`zjp token --local`): no user stands behind it, and its name begins with `local:`.

Source: RFC 7519; RFC 8725 (Best Current Practices: 3.1 fixed algorithms, 3.8 issuer, 3.9 audience, 3.10 headers are not to be trusted).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt

from .errors import ConfigError

SECRET_BYTES_MIN = 32
"""HS256 takes what has 256 bits; below it a secret can be found by trying."""
SECRETS_MAX = 8
TOKEN_CHARS_MAX = 4096
SKEW_S = 5.0
"""Clocks of two nodes may differ by so much."""
LOCAL = "local:"
LIFE_S_MAX = 366 * 86400.0

_HEADERS = {"alg", "typ", "kid"}
_NAME = re.compile(r"[0-9A-Za-z_-]{1,64}")
_REQUIRED = ("exp", "iat", "iss", "aud", "sub", "jti", "role", "epoch")


USER_NAME_ACCEPTED = "letters, digits, _ . @ + - (begins with a letter or digit, up to 64)"
_USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}", re.ASCII)


def check_user_name(name: str) -> None:
    """Raises: ValueError. No user's name looks like one of a token that was signed by hand."""
    if _USER_NAME.fullmatch(name) is None:
        raise ValueError(f"{name[:100]!r} is no name of a user; accepted: {USER_NAME_ACCEPTED}")


class TokenRefused(Exception):
    """It is no token of ours, or not one any more. The text is for the log; callers are not told which it was."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. `epoch`: the user's when it was made, 0 when no user stands behind it. Times in Unix seconds. `csrf`: empty except
    in the token of a browser session."""

    name: str
    role: str
    epoch: int
    jti: str
    issued_at: int
    expires_at: int
    csrf: str = ""

    @property
    def is_local(self) -> bool:
        return self.epoch == 0


@dataclass(frozen=True, slots=True)
class Key:
    """`signer` None: it only checks. `shown`: the public half as a JSON Web Key, None where there is none to show."""

    kid: str
    algorithm: str
    signer: Any
    checker: Any
    shown: Mapping[str, Any] | None = None


class Ring:
    """The first key signs, all of them check."""

    def __init__(self, keys: Sequence[Key], *, issuer: str, audience: str) -> None:
        if not keys or keys[0].signer is None:
            raise ValueError("a ring needs a first key that can sign")
        self._first = keys[0]
        self._keys = {key.kid: key for key in keys}
        self._issuer, self._audience = issuer, audience

    @property
    def public_keys(self) -> list[Mapping[str, Any]]:
        """For others who want to check tokens: a JWKS' `keys`. Empty where all keys are secrets."""
        return [key.shown for key in self._keys.values() if key.shown is not None]

    def sign(self, claims: Claims) -> str:
        said = {
            "iss": self._issuer, "aud": self._audience, "sub": claims.name, "jti": claims.jti, "iat": claims.issued_at,
            "exp": claims.expires_at, "role": claims.role, "epoch": claims.epoch,
        }  # fmt: skip
        if claims.csrf:
            said["csrf"] = claims.csrf
        first = self._first
        return jwt.encode(said, first.signer, algorithm=first.algorithm, headers={"kid": first.kid})

    def read(self, token: str, now: float) -> Claims:
        """`now` in Unix seconds. Raises: TokenRefused."""
        key = self._key_of(token)
        try:
            said = jwt.decode(
                token, key.checker, algorithms=[key.algorithm], audience=self._audience, issuer=self._issuer,
                options={"require": list(_REQUIRED), "verify_exp": False, "verify_iat": False, "verify_nbf": False, "strict_aud": True},
            )  # fmt: skip
        except jwt.exceptions.PyJWTError as fault:
            raise TokenRefused(f"{type(fault).__name__}: {fault}") from None
        _check_times(said, now)
        return _claims(said)

    def _key_of(self, token: str) -> Key:
        if len(token) > TOKEN_CHARS_MAX:
            raise TokenRefused(f"it has {len(token)} characters, the limit is {TOKEN_CHARS_MAX}")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.exceptions.PyJWTError, ValueError, RecursionError) as fault:
            raise TokenRefused(f"its header cannot be read: {fault}") from None
        if strange := header.keys() - _HEADERS:
            raise TokenRefused(f"its header says {min(strange)}")
        kid = header.get("kid")
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None or header.get("alg") != key.algorithm or header.get("typ", "JWT") != "JWT":
            raise TokenRefused("its key or algorithm is none of ours")
        return key


def _check_times(said: Mapping[str, Any], now: float) -> None:
    expires, issued, begins = said["exp"], said["iat"], said.get("nbf", 0)
    if not all(_is_whole(value) for value in (expires, issued, begins)):
        raise TokenRefused("a time in it is no whole number")
    if now >= expires:
        raise TokenRefused("it has expired")
    if max(issued, begins) > now + SKEW_S:
        raise TokenRefused("it is from the future")
    if expires - issued > LIFE_S_MAX:
        raise TokenRefused("it lives too long")


def _claims(said: Mapping[str, Any]) -> Claims:
    name, role, epoch, jti, csrf = said["sub"], said["role"], said["epoch"], said["jti"], said.get("csrf", "")
    texts_fit = all(isinstance(text, str) for text in (name, role, jti, csrf)) and name and _NAME.fullmatch(jti)
    if not texts_fit or not _is_whole(epoch) or epoch < 0 or name.startswith(LOCAL) != (epoch == 0):
        raise TokenRefused("a claim has the wrong form")
    return Claims(name, role, epoch, jti, said["iat"], said["exp"], csrf)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def make_ring(secret: str | None, key_file: Path | None, *, issuer: str, audience: str) -> Ring:
    """Of JWT_SECRET and JWT_KEY_FILE. The key of the file signs where there is one; what the secrets signed counts on.

    Raises: ConfigError.
    """
    keys = [_key_of(key_file)] if key_file is not None else []
    if secret is not None:
        keys += secret_keys(secret)
    if not keys:
        raise ConfigError("JWT_SECRET: there is no secret that signs tokens; make one with: openssl rand -base64 48")
    return Ring(keys, issuer=issuer, audience=audience)


def _key_of(path: Path) -> Key:
    try:
        return pem_key(path.read_bytes())
    except OSError as fault:
        raise ConfigError(f"JWT_KEY_FILE={path}: cannot be read: {fault.strerror}") from None


def secret_keys(text: str) -> list[Key]:
    """The keys of JWT_SECRET: one secret, or several with commas, of which the first signs. Raises: ConfigError."""
    secrets = [part.strip() for part in text.split(",")]
    if len(secrets) > SECRETS_MAX:
        raise ConfigError(f"JWT_SECRET: {len(secrets)} secrets, the limit is {SECRETS_MAX}")
    if len(set(secrets)) < len(secrets):
        raise ConfigError("JWT_SECRET: one of the secrets stands there twice")
    for secret in secrets:
        check_secret(secret)
    return [_secret_key(secret.encode()) for secret in secrets]


def check_secret(secret: str) -> None:
    """The least that a signature needs; that it is none of those in examples is asked of the settings. Raises: ConfigError."""
    length = len(secret.encode())
    if length < SECRET_BYTES_MIN:
        raise ConfigError(
            f"JWT_SECRET: a secret of {length} bytes, accepted are {SECRET_BYTES_MIN} and more; make one with: openssl rand -base64 48"
        )


def _secret_key(secret: bytes) -> Key:
    kid = hmac.new(secret, b"zjp: name of a key", hashlib.sha256).hexdigest()[:16]
    return Key(kid, "HS256", secret, secret)


def pem_key(pem: bytes) -> Key:
    """The key of JWT_KEY_FILE: a private key of Ed25519 (EdDSA) or RSA of 2048 bits and more (RS256). Its name is its fingerprint.

    Raises: ConfigError. Source: RFC 7638 (fingerprint), RFC 8037 (Ed25519 as a JSON Web Key).
    """
    from jwt import algorithms  # here, as what it needs is an extra

    if not algorithms.has_crypto:
        raise ConfigError("JWT_KEY_FILE: needs what is not installed; pip install 'zjp[crypto]'")
    for algorithm, form in (
        ("EdDSA", algorithms.OKPAlgorithm()),
        ("RS256", algorithms.RSAAlgorithm(algorithms.RSAAlgorithm.SHA256)),
    ):
        try:
            private: Any = form.prepare_key(pem)
            public = private.public_key()
            shown = form.to_jwk(public, as_dict=True)
        except (jwt.exceptions.PyJWTError, AttributeError, TypeError, ValueError):
            continue
        return _public_pair(algorithm, private, public, shown)
    raise ConfigError(
        "JWT_KEY_FILE: no private key of Ed25519 or RSA in PEM form; make one with: openssl genpkey -algorithm ed25519"
    )


def _public_pair(algorithm: str, private: Any, public: Any, shown: Mapping[str, Any]) -> Key:
    if algorithm == "RS256" and public.key_size < 2048:
        raise ConfigError(f"JWT_KEY_FILE: an RSA key of {public.key_size} bits, accepted are 2048 and more")
    if shown.get("kty") == "OKP" and shown.get("crv") != "Ed25519":
        raise ConfigError(f"JWT_KEY_FILE: a key of {shown.get('crv')}, accepted are Ed25519 and RSA")
    named = {name: shown[name] for name in ("crv", "e", "kty", "n", "x") if name in shown}
    text = json.dumps(named, separators=(",", ":"), sort_keys=True)
    kid = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return Key(kid, algorithm, private, public, {**named, "kid": kid, "use": "sig", "alg": algorithm})
