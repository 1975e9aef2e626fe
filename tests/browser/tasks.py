"""The application of the node behind the dashboard's tests: jobs that complete, fail, retry and hold; some with markup in all they say."""

from __future__ import annotations

from typing import Any

from tests import fakes
from zjp import App, Context, Retry

app = App()

MARKUP = "<img/src=x/onerror=window.hit=1>"
"""Allowed as the name of a task, a queue or a tag: printable and without spaces."""
MARKUPS = (
    MARKUP,
    "<script>window.hit=1</script>",
    "\"><svg onload='window.hit=1'>",
    "</pre></div></body><h1>taken over</h1>",
    "<a href='javascript:window.hit=1'>here</a>",
    "{{7*7}} ${7*7} &lt;b&gt; &amp;",
)


class PaymentDeclined(Exception):
    """As an application would name it."""


@app.task("email")
def email(recipient: str, subject: str = "") -> dict[str, Any]:
    return {"sent": True, "to": recipient, "subject": subject}


@app.task("charge_card", max_retries=0)
def charge_card(customer: int, amount: float = 10.0) -> dict[str, Any]:
    """Customers above 4000 have no money."""
    if customer > 4000:
        raise PaymentDeclined(f"the card of customer {customer} was declined: insufficient funds")
    return {"charged": amount, "customer": customer}


@app.task("sync_stock", max_retries=5)
def sync_stock(shop: str = "main") -> None:
    raise Retry("1h", "the shop does not answer")


@app.task("report")
def report(ctx: Context, path: str) -> str:
    """Half done until the test makes the file."""
    ctx.progress(5, 10, "half of it")
    return fakes.hold_until(path)


@app.task(MARKUP, max_retries=0)
def markup(text: str, mode: str = "return") -> dict[str, Any]:
    if mode == "raise":
        raise ValueError(text)
    return {"text": text, text: "as a key"}
