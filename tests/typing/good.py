"""Uses of tasks that type checkers must accept, with the types they must see. Checked by test_typing.py, never run."""

from typing import Any, assert_type

from zjp import App, AsyncJob, Client, Context, Job

app = App()


@app.task
def add(a: int, b: int = 1) -> int:
    return a + b


@app.task("email", max_retries=5, timeout="30s", queue="mail")
def send_email(ctx: Context, recipient: str, subject: str) -> None:
    ctx.progress(1, 2)


@app.task("loose")
def loose(ctx, recipient: str) -> None:  # type: ignore[no-untyped-def]
    pass


@app.task()
async def fetch(url: str, *, depth: int = 0) -> bytes:
    return url.encode()


@app.task
async def crawl(ctx: Context, url: str) -> int:
    return ctx.attempt


def submits() -> None:
    assert_type(add.submit(1, b=2), Job)
    assert_type(add.delay(1), Job)
    assert_type(add.send(a=1), Job)
    assert_type(send_email.submit(recipient="a@example.com", subject="hi"), Job)
    assert_type(send_email.options(queue="mail", delay="5m", priority=10).submit("a@example.com", "hi"), Job)
    assert_type(add.options(unique_key="k").options(id="0197a3f0-0000-7000-8000-000000000000").delay(1), Job)
    loose.submit("a@example.com")
    assert_type(add.submit_many([{"a": 1}, {"a": 2}]), list[Job])
    fetch.submit(url="http://localhost", depth=2)
    crawl.submit("http://localhost")


async def submits_async() -> None:
    assert_type(await add.submit_async(1), AsyncJob)
    assert_type(await fetch.options(tags=["a"]).submit_async("http://localhost"), AsyncJob)


async def calls(ctx: Context) -> None:
    assert_type(add(1, 2), int)
    send_email(ctx, "a@example.com", subject="hi")
    assert_type(await fetch("http://localhost"), bytes)
    assert_type(await crawl(ctx, "http://localhost"), int)


def clients(client: Client) -> None:
    job = client.submit("email", {"recipient": "a@example.com"}, priority=10, delay="5m", tags=["a"])
    assert_type(job, Job)
    assert_type(client.wait(job), Job)
    assert_type(client.wait(job.id, timeout=5), Job)
    assert_type(client.wait([job]), list[Job])
    assert_type(job.wait(timeout=30).result, Any)
    assert_type(client.submit_many([("email", {"a": 1}), {"type": "email"}, add.request(1)], queue="mail"), list[Job])
