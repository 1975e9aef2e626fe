"""The tasks that the README talks about.

    python -m zjp.node --app examples.tasks:app     serves them
    python -m examples.tasks                        tries each

`email` sends mail to the server named by SMTP_ADDRESS (host:port) and, without one, only says what it would send:
so that the README works on a laptop without a mail server. See send_mail.py for one with a server.
"""

from __future__ import annotations

import os
import smtplib
import sys
import time
from email.message import EmailMessage

from zjp import App, Context, RetryPolicy

app = App()


@app.task("email", max_retries=5, timeout="30s")
def send_email(ctx: Context, recipient: str, subject: str) -> str:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "zjp@example.com", recipient, subject
    # A job that runs twice sends the same id twice, and mail servers and readers know the second for a copy.
    message["Message-ID"] = f"<{ctx.job_id}@example.com>"
    server = os.environ.get("SMTP_ADDRESS")
    if server is None:
        ctx.log.info("SMTP_ADDRESS is not set: nothing is sent")
        return f"would send {subject!r} to {recipient}, attempt {ctx.attempt}"
    host, _, port = server.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=10) as smtp:
        smtp.send_message(message)
    return f"sent {subject!r} to {recipient}, attempt {ctx.attempt}"


@app.task("noop")
def noop() -> None:
    """Nothing: what `zjp bench` runs."""


@app.task("add")
def add(a: float, b: float) -> float:
    return a + b


@app.task("sleep")
def sleep(ctx: Context, seconds: float = 1.0) -> float:
    """Takes its time, shows how far it is, and stops early when it is cancelled."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not ctx.cancelled:
        ctx.progress(seconds - left, seconds)
        time.sleep(min(left, 0.2))
    return seconds


@app.task("flaky", max_retries=5, retry=RetryPolicy("fixed", base_s=0.1, max_s=0.1))
def flaky(ctx: Context, failures: int = 2) -> str:
    """Fails so many times, then succeeds."""
    if ctx.attempt <= failures:
        raise ConnectionError(f"attempt {ctx.attempt} of {failures + 1}: not yet")
    return f"succeeded at attempt {ctx.attempt}"


def main() -> int:
    from examples.local_node import local_node

    with local_node("examples.tasks:app") as zjp:
        jobs = [
            zjp.submit("email", {"recipient": "a@example.com", "subject": "hi"}, priority=10),
            zjp.submit("add", {"a": 2, "b": 3}),
            zjp.submit("sleep", {"seconds": 0.3}, delay="200ms"),
            zjp.submit("flaky"),
        ]
        results = [job.wait(timeout=30).result for job in jobs]
    for job, result in zip(jobs, results, strict=True):
        print(f"{job.type:6} {result}")
    return 0 if results[1:] == [5, 0.3, "succeeded at attempt 3"] and "a@example.com" in results[0] else 1


if __name__ == "__main__":
    sys.exit(main())
