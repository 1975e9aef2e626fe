"""/docs: the route table as a page to read, made by hand from the same rows as the OpenAPI document. One file, no script, no outside
assets; the only style sheet is in the page, which its own Content-Security-Policy allows by its hash.
"""

from __future__ import annotations

import base64
import hashlib
import html
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from .. import __version__
from .openapi import TEMPLATE, answers, document, operation_id
from .problems import codes
from .table import NoQuery, Route

STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--accent:#0a6e5c}
@media(prefers-color-scheme:dark){:root{--accent:#5fd3bc}}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
h1{font-size:1.6rem}h2{margin-top:2.5rem;border-bottom:1px solid var(--line)}
h3{font:600 1rem ui-monospace,monospace;margin:0;overflow-wrap:anywhere}
section{border:1px solid var(--line);border-radius:.5rem;padding:.8rem 1rem;margin:1rem 0}
b{color:var(--accent)}code,pre{font:.85rem ui-monospace,monospace;background:var(--soft);border-radius:.3rem}
code{padding:.1rem .3rem}pre{padding:.6rem;overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{text-align:left;vertical-align:top;padding:.2rem .6rem .2rem 0}
nav a{margin-right:1rem}a{color:var(--accent)}.role{float:right;font-size:.85rem}
""".strip()
STYLE_HASH = "sha256-" + base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src '{STYLE_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
ROWS_SHOWN = 40
_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    f"<title>zjp HTTP API</title><style>{STYLE}</style></head><body><main><h1>zjp HTTP API {html.escape(__version__)}</h1>"
)
_INTRO = (
    "<p>JSON in and out. Errors are problem documents (RFC 9457) with a <code>code</code>. Unknown fields are refused. Lists are paged: "
    'give <code>cursor</code> from the page before. The same as a document: <a href="/openapi.json">openapi.json</a>.</p>'
)
_esc = html.escape


def page(routes: Sequence[Route], *, is_auth_on: bool) -> bytes:
    shapes = document(routes, is_auth_on=is_auth_on)["components"]["schemas"]
    groups = {
        group or "Other": list(rows)
        for group, rows in itertools.groupby(_by_group(routes), key=lambda route: route.group)
    }
    parts = [
        _HEAD,
        _INTRO,
        _auth_note(is_auth_on=is_auth_on),
        "<nav>"
        + "".join(f'<a href="#{_anchor(group)}">{_esc(group)}</a>' for group in [*groups, "Error codes"])
        + "</nav>",
    ]
    for group, rows in groups.items():
        parts.append(f'<h2 id="{_anchor(group)}">{_esc(group)}</h2>')
        parts += [_section(route, shapes, is_auth_on=is_auth_on) for route in rows]
    parts += [_error_table(), "</main></body></html>\n"]
    return "".join(parts).encode()


def _by_group(routes: Sequence[Route]) -> list[Route]:
    order = list(dict.fromkeys(route.group for route in routes))
    return sorted(routes, key=lambda route: order.index(route.group))


def _anchor(text: str) -> str:
    return _esc(text.lower().replace(" ", "-"))


def _auth_note(*, is_auth_on: bool) -> str:
    if is_auth_on:
        return "<p>Send <code>Authorization: Bearer TOKEN</code>; <code>POST /auth/login</code> gives the token.</p>"
    return "<p>Auth is off: whoever reaches this port is an admin.</p>"


def _section(route: Route, shapes: Mapping[str, Any], *, is_auth_on: bool) -> str:
    role = "open to everybody" if route.role is None else f"role {route.role.name.lower()}"
    parts = [
        f'<section id="{operation_id(route)}"><span class="role">{role}</span><h3><b>{route.method}</b> {_esc(route.path)}</h3>',
        f"<p>{_esc(route.summary)}</p>",
        _fields("Query", None if route.query is NoQuery else route.query),
        _fields("Body", route.body),
        _reply(route),
        f"<pre>{_esc(curl(route, shapes, is_auth_on=is_auth_on))}</pre><table><tbody>",
    ]
    for status, text in sorted(answers(route, is_auth_on=is_auth_on).items()):
        parts.append(f"<tr><td>{status}</td><td>{_esc(text)}</td></tr>")
    parts.append("</tbody></table></section>")
    return "".join(parts)


def _fields(title: str, kind: Any) -> str:
    if kind is None:
        return ""
    _, components = msgspec.json.schema_components([kind], ref_template=TEMPLATE)
    own = components[kind.__name__]
    note = f"<p>{_esc(_one_line(own.get('description', '')))}</p>" if own.get("description") else ""
    rows = "".join(_field_rows(own))
    return f"<table><thead><tr><th>{title}</th><th>type</th><th>default</th><th></th></tr></thead><tbody>{rows}</tbody></table>{note}"


def _field_rows(own: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in itertools.islice(own.get("properties", {}).items(), ROWS_SHOWN):
        default = "required" if name in own.get("required", ()) else _default(schema)
        yield (
            f"<tr><td><code>{_esc(name)}</code></td><td>{_esc(_type(schema))}</td><td>{_esc(default)}</td>"
            f"<td>{_esc(schema.get('description', ''))}</td></tr>"
        )


def _default(schema: Mapping[str, Any]) -> str:
    return msgspec.json.encode(schema["default"]).decode() if schema.get("default") is not None else ""


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(str(one) for one in schema["enum"])
    bounds = [f"{sign}{schema[word]}" for word, sign in (("minimum", "≥ "), ("maximum", "≤ ")) if word in schema]
    return " ".join([str(schema.get("type", "any")), *bounds])


def _reply(route: Route) -> str:
    if route.reply is None:
        return ""
    _, components = msgspec.json.schema_components([route.reply], ref_template=TEMPLATE)
    own = components[route.reply.__name__]
    names = ", ".join(f"<code>{_esc(name)}</code>" for name in own.get("properties", {}))
    note = _esc(_one_line(own.get("description", "")))
    return f"<p>Answer {route.status}: {names}. {note}</p>"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def curl(route: Route, shapes: Mapping[str, Any], *, is_auth_on: bool) -> str:
    """A line that works as it stands, but for what is in capitals."""
    path = route.path.replace("{", "").replace("}", "")
    for word in ("id", "queue", "name", "node", "algorithm"):
        path = path.replace(f"/{word}", f"/{word.upper()}") if f"{{{word}}}" in route.path else path
    parts = ["curl" if route.method == "GET" else f"curl -X {route.method}"]
    if is_auth_on and route.role is not None:
        parts.append('-H "Authorization: Bearer $TOKEN"')
    if route.body is not None:
        own = shapes.get(route.body.__name__, {})
        sample = {
            name: _sample(schema, name)
            for name, schema in own.get("properties", {}).items()
            if name in own.get("required", ())
        }
        parts.append(f"-H \"Content-Type: application/json\" -d '{msgspec.json.encode(sample).decode()}'")
    parts.append(f"http://localhost:8080{path}")
    return " ".join(parts)


def _sample(schema: Mapping[str, Any], name: str) -> Any:
    if schema.get("examples"):
        return schema["examples"][0]
    if "enum" in schema:
        return schema["enum"][0]
    return {"integer": 1, "array": [], "object": {}, "boolean": False}.get(str(schema.get("type")), name.upper())


def _error_table() -> str:
    rows = "".join(
        f'<tr id="{code}"><td><code>{code}</code></td><td>{status}</td><td>{_esc(meaning)}</td></tr>'
        for code, status, meaning in codes()
    )
    return f'<h2 id="error-codes">Error codes</h2><table><tbody>{rows}</tbody></table>'
