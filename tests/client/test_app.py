"""`App`: registering tasks, submitting them, and the clients it makes."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from typing import Any

import pytest

from tests.client.peer import MemoryNode, Peer
from zjp import App, AsyncClient, Client, Context
from zjp.client.inline import InlineNode
from zjp.client.inline_doors import InlineDoor
from zjp.client.packing import unpack
from zjp.errors import ConfigError, InvalidJob
from zjp.wire import messages as m

pytestmark = pytest.mark.covers("main-path:9")


def make_app(**options: Any) -> App:
    app = App("shop", **options)

    @app.task
    def add(a: int, b: int = 1) -> int:
        """Adds."""
        return a + b

    @app.task("email", queue="mail", priority=9, tags=["mail"], max_retries=5, timeout="30s")
    def send_email(ctx: Context, recipient: str, subject: str) -> str:
        return f"{ctx.attempt} {recipient}"

    @app.task("loose")
    def loose(ctx, recipient: str):  # type: ignore[no-untyped-def]
        return recipient

    @app.task()
    async def fetch(url: str) -> str:
        return url

    app_tasks = {"add": add, "email": send_email, "loose": loose, "fetch": fetch}
    app.handles = app_tasks  # type: ignore[attr-defined]
    return app


def task(app: App, name: str) -> Any:
    return app.handles[name]  # type: ignore[attr-defined]


# ── registering ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("app:task", "app:context")
def test_tasks_are_registered_with_their_options() -> None:
    app = make_app()
    assert list(app.tasks) == ["add", "email", "loose", "fetch"]
    email = app.tasks["email"]
    assert (email.options.queue, email.options.priority, email.options.max_retries, email.options.timeout_s) == (
        "mail",
        9,
        5,
        30.0,
    )
    assert [app.tasks[name].takes_context for name in app.tasks] == [False, True, True, False]
    assert [app.tasks[name].is_async for name in app.tasks] == [False, False, False, True]
    assert repr(app) == "<App shop: 4 tasks>"


@pytest.mark.covers("app:task")
def test_a_task_is_still_the_function() -> None:
    app = make_app()
    assert task(app, "add")(1, b=2) == 3
    assert task(app, "loose")(None, "a@example.com") == "a@example.com"
    assert asyncio.run(task(app, "fetch")("http://localhost")) == "http://localhost"
    assert (task(app, "add").__doc__, task(app, "add").__name__, task(app, "email").name) == ("Adds.", "add", "email")
    assert list(inspect.signature(task(app, "add")).parameters) == ["a", "b"]


@pytest.mark.covers("app:task")
def test_an_unknown_task_option_is_refused_where_it_stands() -> None:
    with pytest.raises(TypeError, match="unknown task option 'max_retry'; did you mean 'max_retries'"):
        App().task("email", max_retry=3)  # type: ignore[call-overload]


@pytest.mark.covers("app:task")
def test_wrong_task_options_and_names_are_refused() -> None:
    with pytest.raises(ValueError, match="priority is 11"):
        App().task(priority=11)
    with pytest.raises(TypeError, match="the task's name is 7, it must be text"):
        App().task(7)  # type: ignore[call-overload]
    with pytest.raises(InvalidJob, match="task name 'a b' holds spaces"):
        App().task("a b")(lambda: None)
    app = make_app()
    with pytest.raises(ValueError, match="task name 'add' is taken"):
        app.task("add")(lambda: None)


@pytest.mark.covers("app:task")
def test_a_function_may_be_a_task_of_two_applications_under_two_names(client: Client, node: MemoryNode) -> None:
    one, two = App("one", client=client), App("two", address="tcp://127.0.0.1:1")

    @one.task("outer", queue="q1")
    @two.task("inner", queue="q2")
    def double(a: int) -> int:
        return 2 * a

    assert (double.app, double.name, double.definition.options.queue) == (one, "outer", "q1")
    assert (list(one.tasks), list(two.tasks)) == (["outer"], ["inner"])
    spec = node.specs[double.submit(a=1).id_bytes]
    assert (spec.type, spec.queue, double(3)) == ("outer", "q1", 6)

    @one.task("with-context")
    @two.task
    async def fetch(ctx: Context, url: str) -> str:
        return url

    assert (fetch.app, fetch.name) == (one, "with-context")
    assert one.tasks["with-context"].is_async
    assert one.tasks["with-context"].function is two.tasks["fetch"].function


# ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("app:typed-submit")
def test_submit_sends_the_arguments_by_name_with_the_tasks_options(client: Client, node: MemoryNode) -> None:
    app = make_app(client=client)
    for submit in (task(app, "email").submit, task(app, "email").delay, task(app, "email").send):
        spec = node.specs[submit("a@example.com", subject="hi").id_bytes]
        assert (spec.type, spec.queue, spec.priority) == ("email", "mail", 9)
        assert unpack(spec.payload, "") == {"recipient": "a@example.com", "subject": "hi"}
        assert spec.options is not None
        assert (spec.options.tags, spec.options.max_retries) == (("mail",), None), "limits are left to the worker"


@pytest.mark.covers("app:typed-submit")
@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, r"task 'add'\(a: .int., b: .int. = 1\) -> .int.: missing a required argument: 'a'"),
        ((1, 2, 3), {}, "too many positional arguments"),
        ((1,), {"c": 2}, "unexpected keyword argument 'c'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_the_call(
    args: tuple[int, ...], kwargs: dict[str, int], text: str
) -> None:
    with pytest.raises(TypeError, match=text):
        task(make_app(), "add").submit(*args, **kwargs)


@pytest.mark.covers("app:options")
def test_options_hold_for_one_submit(client: Client, node: MemoryNode) -> None:
    app = make_app(client=client)
    urgent = task(app, "add").options(queue="urgent", delay="5m").options(priority=10)
    changed, plain = (node.specs[job.id_bytes] for job in (urgent.submit(1), task(app, "add").submit(a=1)))
    assert (changed.queue, changed.priority, changed.options.delay_ms) == ("urgent", 10, 300_000)
    assert (plain.queue, plain.priority, plain.options) == ("default", 5, None)
    with pytest.raises(TypeError, match="unknown option 'quene'; did you mean 'queue'"):
        task(app, "add").options(quene="x")


def test_many_calls_travel_in_one_batch(client: Client, peer: Peer) -> None:
    app = make_app(client=client)
    add = task(app, "add")
    assert len(add.submit_many({"a": number} for number in range(10))) == 10
    assert len(client.submit_many([add.request(1), add.options(priority=1).request(2)])) == 2
    assert len(peer.heard) == 2
    with pytest.raises(TypeError, match="missing a required argument"):
        add.submit_many([{"b": 1}])


# ── clients ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_client_is_made_once_from_the_address(peer: Peer) -> None:
    app = make_app(address=peer.address)
    assert app.client is app.client
    assert task(app, "add").submit(1).wait(timeout=30).result == {"a": 1}
    app.close()
    assert task(app, "add").submit(1).level is not None
    app.close()


def test_the_client_can_be_set(client: Client) -> None:
    app = make_app(address="tcp://127.0.0.1:1")
    app.client = client
    assert task(app, "add").submit(1).existed is False
    app.close()
    assert client.ping().node == "peer", "a client that was given stays open"


def test_the_async_client_goes_where_the_client_goes_that_was_given(peer: Peer) -> None:
    with Client(peer.address, cluster="zjp", key_file="", timeout="7s") as client:
        app = make_app(client=client)
        later = make_app(address="tcp://127.0.0.1:1")
        later.client = client

        async def submit(app: App) -> tuple[Any, float]:
            return (await task(app, "fetch").submit_async(url="u")).level, app.async_client._timeout_s

        for one in (app, later):
            assert asyncio.run(submit(one)) == ("disk", 7.0)
            one.close()
    assert len(peer.requests(m.Submit)) == 2


def test_where_a_client_goes_that_nobody_knows_there_is_no_async_client() -> None:
    app = make_app(client=Client(_door=InlineDoor(InlineNode({}, 0))))

    async def submit() -> None:
        await task(app, "fetch").submit_async(url="u")

    with pytest.raises(ConfigError, match="give the app address= instead, or submit with an AsyncClient of your own"):
        asyncio.run(submit())


def test_each_loop_has_a_client_of_its_own(peer: Peer) -> None:
    app = make_app(address=peer.address)
    clients: list[AsyncClient] = []

    async def submit() -> None:
        job = await task(app, "fetch").submit_async(url="http://localhost")
        assert (await job.wait(timeout=30)).result == {"url": "http://localhost"}
        assert len(await task(app, "add").submit_many_async([{"a": 1}])) == 1
        assert app.async_client is app.async_client
        clients.append(app.async_client)

    for _ in range(2):
        asyncio.run(submit())
    assert clients[0] is not clients[1]
    app.close()


@pytest.mark.covers("settings:CLIENT_ADDRESS", "settings:CLUSTER_NAME")
def test_without_an_address_the_settings_decide_and_all_is_closed_at_exit(peer: Peer) -> None:
    code = (
        "import asyncio\nfrom zjp import App\napp = App()\n"
        "@app.task\ndef add(a: int) -> int: return a\n"
        "print(add.submit(1).wait(timeout=30).result)\n"
        "async def main(): print((await add.submit_async(2)).level.value)\n"
        "asyncio.run(main())\n"
    )
    environment = {"ZJP_CLIENT_ADDRESS": f"tcp://127.0.0.1:1,{peer.address}", "ZJP_CLUSTER_NAME": "zjp"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("{'a': 1}\ndisk\n", "")


def test_a_parameter_may_be_named_self(peer: Peer) -> None:
    app = App(address=peer.address)

    @app.task
    def bound(self: int, **more: int) -> int:
        return self

    assert bound.submit(self=3, x=1).wait(timeout=30).result == {"self": 3, "x": 1}
    assert bound(self=3) == 3
    assert bound.options(priority=1).request(self=4).payload == {"self": 4}
    app.close()


def test_a_name_that_is_empty_is_refused() -> None:
    with pytest.raises(InvalidJob, match="task name has 0 characters, it must have 1 to 128"):
        App().task("")(lambda: None)
