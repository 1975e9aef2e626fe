"""What comes in: headers, query and body of one request, within limits, as typed values.

The body is counted while it is read, so one without an end is cut at its limit whatever it said of its length. JSON is decoded strictly
by the row's type: unknown fields, wrong types and trailing bytes are refused, and names that stand twice (doubles.py). Numbers that are not
finite are none in JSON and are refused by the decoder, as is what is nested deeper than Python may recurse; payloads have a lower limit of
their own (client/packing.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope

from .doubles import check_doubles
from .table import Problem

T = TypeVar("T")
QUERY_BYTES_MAX = 8192
QUERY_FIELDS_MAX = 32
READ_OVER_BYTES = 64 << 10
DEPTH_MAX = 64
"""Of any body. What is deeper is no document but an attack on recursion."""


class Gone(Exception):
    """The caller went away in the middle of its request; nobody is left to be answered."""


class NoBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of a request that needs none; an empty object is as good."""


def headers_of(scope: Scope) -> dict[str, str]:
    """Names in lower case; of a header that is there twice, the last counts, but for the lists that may be split."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1"), value.decode("latin-1")
        if key in _LISTS and key in found:
            text = f"{found[key]}, {text}"
        found[key] = text
    return found


_LISTS = frozenset({"accept", "accept-encoding", "if-none-match", "x-forwarded-for"})


async def read_body(receive: Receive, headers: Mapping[str, str], bytes_max: int) -> bytes:
    """Raises: Problem 400, 413; Gone."""
    declared = headers.get("content-length")
    if declared is not None and (not declared.isdecimal() or int(declared[:20]) > bytes_max):
        raise too_large(bytes_max)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Gone
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= bytes_max:
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False):
        if size > bytes_max:
            break
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > bytes_max:
        raise too_large(bytes_max)
    return b"".join(parts)


def too_large(bytes_max: int) -> Problem:
    return Problem(
        413,
        "Content Too Large",
        f"the body is more than {bytes_max} bytes; send less at once, store it elsewhere and pass a reference, or raise MAX_BODY",
        headers={"connection": "close"},
    )


def is_left_unread(headers: Mapping[str, str]) -> bool:
    """Whether the request has a body that may be large. An answer given before it was read then closes the connection; what little there
    is of a small one is read over."""
    declared = headers.get("content-length", "0")
    return "transfer-encoding" in headers or not declared.isdecimal() or int(declared[:20]) > READ_OVER_BYTES


def check_media_type(headers: Mapping[str, str]) -> None:
    """Raises: Problem 415."""
    given = headers.get("content-type", "")
    if given == "application/json":
        return
    kind, _, parameters = given.partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise Problem(
            415,
            "Unsupported Media Type",
            f"Content-Type is {given[:100]!r}, it must be application/json in UTF-8",
            headers={"accept-post": "application/json"},
        )
    if "content-encoding" in headers and headers["content-encoding"].lower() != "identity":
        raise Problem(415, "Unsupported Media Type", "bodies are not compressed: send no Content-Encoding")


def decode_body(body: bytes, kind: type[T], headers: Mapping[str, str]) -> T:
    """Raises: Problem 400 (no JSON), 415, 422 (not what is wanted)."""
    if not body and kind is NoBody:
        return kind()
    check_media_type(headers)
    made = decode_json(body, msgspec.json.Decoder(kind))
    check_doubles(body)
    return made


def decode_json(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    if body.count(b"[") + body.count(b"{") > DEPTH_MAX:
        check_depth(body)
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as fault:
        raise invalid(str(fault)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Problem(400, "Bad Request", f"the body is not JSON: {fault}") from None


def check_depth(body: bytes) -> None:
    """Level by level from the innermost, as a loop over the bytes would cost more than decoding them. What does not close is no JSON, which
    the decoder finds. Raises: Problem 400."""
    left = brackets_of(body).translate(_ONE_KIND)
    for _ in range(DEPTH_MAX):
        left = left.replace(b"[]", b"")
    if b"[]" in left:
        raise Problem(400, "Bad Request", f"the body is nested more than {DEPTH_MAX} deep; flatten it")


def brackets_of(body: bytes) -> bytes:
    """The brackets that stand outside of texts. Two quotes side by side are an empty text or join two of them: without them whatever else
    there is stays inside or outside as it was."""
    signs = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _PLAIN).replace(b'""', b"")
    return b"".join(signs.split(b'"')[::2])


_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_PLAIN = bytes(sign for sign in range(256) if sign not in b'[]{}"')


def invalid(detail: str) -> Problem:
    return Problem(422, "Unprocessable Content", detail)


def decode_query(query: bytes, kind: type[T]) -> T:
    """Raises: Problem 400, 422."""
    if not query:
        return convert_query({}, kind)
    if len(query) > QUERY_BYTES_MAX:
        raise Problem(400, "Bad Request", f"the query is more than {QUERY_BYTES_MAX} bytes")
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=QUERY_FIELDS_MAX
        )
    except (ValueError, UnicodeError) as fault:
        raise Problem(400, "Bad Request", f"the query cannot be read: {fault}") from None
    given: dict[str, Any] = {}
    for name, text in pairs:
        if name in given:
            raise Problem(400, "Bad Request", f"{name[:100]} is given twice in the query")
        given[name] = text
    return convert_query(given, kind)


def convert_query(given: dict[str, Any], kind: type[T]) -> T:
    try:
        query = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as fault:
        raise invalid(str(fault)) from None
    for name, text in given.items():
        if getattr(query, name) is None:  # which the decoder makes of the word null
            raise invalid(f"{name} is {text!r}; leave it out to ask for any")
    return query
