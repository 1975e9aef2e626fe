"""Uses of tasks that type checkers must refuse: each marked line with an error of the code behind `E:`.

Checked by test_typing.py, never run.
"""

from zjp import App, Client, Context

app = App()


@app.task
def add(a: int, b: int = 1) -> int:
    return a + b


@app.task("email", max_retries=5)
def send_email(ctx: Context, recipient: str, subject: str) -> None:
    pass


@app.task("sms", max_retry=5)  # E: call-overload
def send_sms(number: str) -> None:
    pass


def submits(client: Client) -> None:
    add.submit("1")  # E: arg-type
    add.submit()  # E: call-arg
    add.submit(1, c=2)  # E: call-arg
    add.delay("1")  # E: arg-type
    send_email.submit(recipient="a@example.com")  # E: call-arg
    send_email.submit(recipient=1, subject="hi")  # E: arg-type
    send_email.options(queue="mail").submit("a@example.com")  # E: call-arg
    send_email.options(quene="mail")  # E: call-arg
    send_email.options(queue=1)  # E: arg-type
    send_email("a@example.com", "hi", "there")  # E: arg-type
    client.submit("email", {}, priorty=1)  # E: call-arg
    client.submit("email", ["no map"])  # E: arg-type
