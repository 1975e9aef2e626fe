"""Send mail, with a server that is sometimes busy and sometimes right to refuse.

    python -m examples.send_mail

What to see here: an answer that says "later" (4xx) becomes `Retry`, one that says "never" (5xx) becomes `Discard`,
and everything else that goes wrong (the server is down) is retried by itself. The mail's id is the job's: should a
worker die between sending and reporting, the job runs again, and the second copy can be told for one.
"""

from __future__ import annotations

import smtplib
import sys
from email.message import EmailMessage

from examples.local_node import local_node
from examples.smtp_sink import smtp_sink
from zjp import App, Context, Discard, JobState, Retry

app = App()

PEOPLE_COUNT = 40


@app.task("mail", max_retries=5, timeout="30s")
def send_mail(ctx: Context, server: str, recipient: str, subject: str) -> str:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "zjp@example.com", recipient, subject
    mail["Message-ID"] = f"<{ctx.job_id}@example.com>"
    mail.set_content(f"Dear {recipient.partition('@')[0]},\n\nyour order is on its way.\n")
    host, _, port = server.rpartition(":")
    try:
        with smtplib.SMTP(host, int(port), timeout=10) as smtp:
            smtp.send_message(mail)
    except smtplib.SMTPRecipientsRefused as refused:
        code, reason = next(iter(refused.recipients.values()))
        if code >= 500:
            raise Discard(f"{recipient}: {code} {reason.decode()}") from None
        raise Retry("200ms", f"{recipient}: {code} {reason.decode()}") from None
    return str(mail["Message-ID"])


def main() -> int:
    people = [f"customer-{number}@mail.example" for number in range(PEOPLE_COUNT)]
    people += [f"customer-{number}@busy.example" for number in range(5)] + ["former-customer@gone.example"]
    with smtp_sink() as sink, local_node("examples.send_mail:app") as zjp:
        jobs = zjp.submit_many(
            [("mail", {"server": sink.address, "recipient": one, "subject": "Order"}) for one in people]
        )
        done = zjp.wait(jobs, timeout=60)
    failed = [job for job in done if job.status is JobState.FAILED]
    arrived = sorted(recipient for recipient, _ in sink.mails)
    retried = sum(len(job.attempts) > 1 for job in done)
    print(f"{len(people)} jobs: {len(arrived)} mails arrived, {retried} after a retry, {len(failed)} refused for good")
    for job in failed:
        print(f"  {job.payload['recipient']}: {job.error.message if job.error else ''}")
    ids_arrived = all(any(job.result in text for _, text in sink.mails) for job in done if job not in failed)
    return 0 if arrived == sorted(people[:-1]) and len(failed) == 1 and retried == 5 and ids_arrived else 1


if __name__ == "__main__":
    sys.exit(main())
