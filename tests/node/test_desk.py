"""What the HTTP door and operators ask of a node beyond jobs, over a real socket: users, events and the audit, failures, removal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.node.gated import Gated, gated
from tests.queue.making import failed
from tests.records.making import make_item
from zjp import AsyncClient
from zjp.election.core import Happened, Kind
from zjp.errors import InvalidJob, NotFound, WireError, WrongState
from zjp.job import JobState, format_id, parse_id
from zjp.node import audit, failures, removal
from zjp.queue.store import Outcome, OutcomeKind
from zjp.wire.desk import SeenEvent, User
from zjp.wire.messages import Role

HASH, OTHER_HASH = "$argon2id$v=19$one", "$argon2id$v=19$two"
ADA = User("ada", "admin", HASH)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Gated]:
    async with gated(tmp_path) as made:
        yield made


@pytest.fixture
async def door(node: Gated) -> AsyncIterator[AsyncClient]:
    async with node.door() as client:
        yield client


async def drain_outbox(node: Gated) -> int:
    items = await node.queue.outbox(1000)
    await node.records.append(items)
    await node.queue.outbox_remove(items)
    return len(items)


def data_of(seen: SeenEvent) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.msgpack.decode(seen.data)
    return data


# ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("http:users")
async def test_a_user_is_made_and_found_and_its_hash_is_told_to_the_door_only(node: Gated, door: AsyncClient) -> None:
    made = await door.put_user(ADA)
    assert (made.version, made.hash, made.created_ms) == (1, "", made.changed_ms)
    assert made.created_ms > 0
    await door.put_user(User("ben", "user", HASH))
    assert [user.hash for user in await door.users()] == [HASH, HASH]
    assert [user.name for user in await door.users("ben")] == ["ben"]
    assert await door.users("nobody") == []
    for asker in (door.speaking_for("ada", Role.ADMIN), node.client(node.gate), node.client()):
        assert [user.hash for user in await asker.users()] == ["", ""]
        asker.close()


@pytest.mark.covers("http:users")
async def test_a_change_of_password_or_role_raises_the_epoch_and_nothing_else_does(door: AsyncClient) -> None:
    await door.put_user(ADA)
    (ben,) = [await door.put_user(User("ben", "user", HASH))]
    change = msgspec.structs.replace
    same = await door.put_user(change(ben, hash=""))
    assert (same.epoch, same.version, same.created_ms) == (ben.epoch, ben.version + 1, ben.created_ms)
    assert (await door.users("ben"))[0].hash == HASH
    other_hash = await door.put_user(change(same, hash=OTHER_HASH))
    other_role = await door.put_user(change(other_hash, role="worker"))
    assert (other_hash.epoch, other_role.epoch) == (ben.epoch + 1, ben.epoch + 2)
    asked_for = await door.put_user(change(other_role, epoch=other_role.epoch + 5))
    assert asked_for.epoch == other_role.epoch + 5


@pytest.mark.covers("http:users")
async def test_one_who_was_removed_and_made_again_has_a_higher_epoch(door: AsyncClient) -> None:
    """Else tokens of the former would count again."""
    await door.put_user(ADA)
    before = await door.put_user(User("ben", "user", HASH))
    assert await door.remove_user("ben") is True
    assert await door.remove_user("ben") is False
    again = await door.put_user(User("ben", "user", HASH))
    assert again.epoch >= before.epoch > 1_000_000_000


@pytest.mark.covers("http:users")
async def test_two_who_change_a_user_at_once_do_not_undo_each_other(door: AsyncClient) -> None:
    ada = await door.put_user(ADA)
    await door.put_user(msgspec.structs.replace(ada, hash=OTHER_HASH))
    with pytest.raises(WrongState, match="changed by somebody else meanwhile"):
        await door.put_user(msgspec.structs.replace(ada, hash=HASH))
    with pytest.raises(WrongState, match="there is a user ada already"):
        await door.put_user(ADA)
    with pytest.raises(WrongState, match="there is no user cy"):
        await door.put_user(User("cy", "user", HASH, version=3))


@pytest.mark.covers("http:users")
async def test_the_last_admin_stays(door: AsyncClient) -> None:
    ada = await door.put_user(ADA)
    for deed in (door.remove_user("ada"), door.put_user(msgspec.structs.replace(ada, role="user"))):
        with pytest.raises(WrongState, match="ada is the last admin"):
            await deed
    await door.put_user(User("ben", "admin", HASH))
    assert await door.remove_user("ada")


@pytest.mark.covers("http:users")
@pytest.mark.parametrize(
    ("user", "said"),
    [
        (User("ada", "root", HASH), "role is 'root'"), (User("ada", "gateway", HASH), "role is 'gateway'"),
        (User("ada", "user", "hunter2"), "no hash of argon2id"), (User("ada", "user"), "has no password"),
        (User("a da", "user", HASH), "holds spaces"),
    ],
)  # fmt: skip
async def test_a_user_that_cannot_be_is_refused(door: AsyncClient, user: User, said: str) -> None:
    with pytest.raises(InvalidJob, match=said):
        await door.put_user(user)


# ── events and the audit ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("http:audit")
async def test_acts_are_noted_once_with_who_what_and_whom_and_are_told_at_once(node: Gated, door: AsyncClient) -> None:
    job = await door.submit("noop", delay="1h")
    await door.speaking_for("ada", Role.ADMIN).pause("mail")
    await door.speaking_for("ben", Role.USER).promote(job)
    await door.speaking_for("ben", Role.USER).cancel(job)
    await door.note("login", "ada", "10.0.0.7")
    await door.put_user(ADA)
    async with node.client() as plain:
        await plain.resume("mail")
        await plain.queues()
    page = await door.events("audit")
    assert [(one.who, one.what, one.subject) for one in reversed(page.events)] == [
        ("ada", "pause", "mail"), ("ben", "promote", job.id), ("ben", "cancel", job.id), ("http", "login", "ada"),
        ("http", "user-put", "ada"), ("local", "resume", "mail"),
    ]  # fmt: skip
    assert {one.node for one in page.events} == {"n1"}
    by_what = {one.what: data_of(one) for one in page.events}
    assert by_what["login"] == {"origin": "10.0.0.7"}
    assert by_what["cancel"] == {"verdict": "cancelled"}
    assert "argon2id" not in str(by_what)
    await node.chronicle.flush()
    assert await door.events("audit") == page


@pytest.mark.covers("http:audit")
async def test_what_is_refused_is_no_act(node: Gated, door: AsyncClient) -> None:
    with pytest.raises(NotFound):
        await door.speaking_for("ada", Role.ADMIN).schedules.change("none", paused=True)
    assert (await door.events()).events == []


@pytest.mark.covers("http:audit")
async def test_pages_hold_what_is_written_and_what_waits_each_once_and_in_order(node: Gated, door: AsyncClient) -> None:
    for number in range(12):
        node.chronicle.did("pause", f"q{number:02}", "ada")
        if number == 5:
            await node.chronicle.flush()
        node.chronicle.told(Happened(Kind.LEADER_LOST, "b", 2, "crash"))
    shown: list[str] = []
    cursor = b""
    while True:
        page = await door.events("audit", cursor=cursor, limit=5)
        shown += [one.subject for one in page.events]
        cursor = page.cursor
        if not cursor:
            break
        await node.chronicle.flush()
    assert shown == [f"q{number:02}" for number in reversed(range(12))]
    assert len((await door.events(limit=500)).events) == 24


@pytest.mark.covers("http:audit")
async def test_events_are_asked_for_within_bounds(door: AsyncClient) -> None:
    for limit in (0, 501):
        with pytest.raises(WireError, match="it must be 1 to 500"):
            await door.events(limit=limit)
    with pytest.raises(InvalidJob, match="was not made by this store"):
        await door.events(cursor=b"no cursor")


@pytest.mark.covers("http:audit")
def test_a_flood_of_cancels_is_counted_and_pushes_nothing_else_out(
    node_chronicle: list[tuple[str, dict[str, Any]]],
) -> None:
    class Keeps:
        def did(self, what: str, subject: str, who: str, **more: Any) -> None:
            node_chronicle.append((what, more))

    clock = [10.0]
    kept = audit.Audit(Keeps(), now=lambda: clock[0])  # type: ignore[arg-type]
    asker = audit.Asker("shop", Role.USER)
    cancel, verdicts = audit.m.Cancel([bytes(16)]), audit.m.Verdicts(["cancelled"])
    for _ in range(audit.LIGHT_MAX + 7):
        kept.done(asker, cancel, verdicts)
    assert len(node_chronicle) == audit.LIGHT_MAX
    kept.done(asker, audit.m.Pause("mail"), audit.m.Done())
    assert node_chronicle[-1] == ("pause", {"left_out": 7})
    clock[0] += 1
    kept.done(asker, cancel, verdicts)
    assert node_chronicle[-1] == ("cancel", {"verdict": "cancelled"})


@pytest.fixture
def node_chronicle() -> list[tuple[str, dict[str, Any]]]:
    return []


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("http:grouped")
async def test_failed_jobs_are_grouped_by_type_and_error_most_first(node: Gated, door: AsyncClient) -> None:
    items = [make_item(number, type="email", state=JobState.FAILED) for number in range(7)]
    items += [make_item(number, type="bill", queue="money", state=JobState.FAILED) for number in range(7, 9)]
    items += [make_item(9, state=JobState.COMPLETED)]
    await node.records.append(items)
    told = await door.failures()
    assert [(one.type, one.error, one.count) for one in told.groups] == [
        ("email", "ValueError", 7),
        ("bill", "ValueError", 2),
    ]
    email = told.groups[0]
    newest = items[6].record
    assert (email.message, email.last_ms, email.ids[0]) == ("no such recipient", newest.finished_ms, newest.job.spec.id)
    assert (len(email.ids), email.first_ms, told.is_whole) == (5, items[0].record.finished_ms, True)
    assert [one.type for one in (await door.failures(queue="money")).groups] == ["bill"]
    assert [one.count for one in (await door.failures(type="email", since_ms=items[5].record.finished_ms)).groups] == [
        2
    ]
    assert len((await door.failures(limit=1)).groups) == 1


@pytest.mark.covers("http:grouped")
async def test_only_the_newest_are_looked_at_and_the_answer_says_so(
    node: Gated, door: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "SCAN_MAX", 10)
    monkeypatch.setattr(failures, "PAGE", 4)
    await node.records.append([make_item(number, state=JobState.FAILED) for number in range(30)])
    told = await door.failures()
    assert (told.groups[0].count, told.scanned, told.is_whole) == (10, 10, False)
    with pytest.raises(WireError, match="it must be 1 to 500"):
        await door.failures(limit=501)


@pytest.mark.covers("http:grouped")
async def test_failures_that_the_records_do_not_have_yet_are_counted_and_those_that_run_again_are_not(
    node: Gated, door: AsyncClient
) -> None:
    ids = [job.id for job in await door.submit_many([("noop", {})] * 3)]
    claim = await node.queue.claim(3, {"*": 1})
    assert await node.queue.finish([failed(claim.fence, job) for job in claim.jobs]) == []
    told = await door.failures(type="noop")
    assert [(one.error, one.count) for one in told.groups] == [("ValueError", 3)]
    assert await drain_outbox(node) == 3
    await door.retry(ids[0])
    told = await door.failures()
    assert ([one.count for one in told.groups], told.is_whole) == ([2], True)
    assert parse_id(ids[0]) not in told.groups[0].ids


# ── removal ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("http:removal")
async def test_a_finished_job_and_one_that_waits_are_removed(node: Gated, door: AsyncClient) -> None:
    done = make_item(1)
    await node.records.append([done])
    waiting = await door.submit("noop")
    asked = asyncio.create_task(door.remove_jobs([format_id(done.record.job.spec.id), waiting, bytes(16)]))
    while not await drain_outbox(node):  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert await asked == ["removed", "removed", "unknown"]
    assert await door.get_many([waiting, format_id(done.record.job.spec.id)]) == [None, None]
    assert node.counted("zjp_jobs_finished_total") == {("unknown", "default", "cancelled"): 1}


@pytest.mark.covers("http:removal")
async def test_one_that_runs_is_removed_once_it_has_ended(
    node: Gated, door: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "WAIT_S", 0.02)
    job = await door.submit("noop")
    claim = await node.queue.claim(1, {"*": 1})
    assert await door.remove_jobs([job]) == ["removing"]
    assert await node.queue.finish([Outcome(claim.fence, claim.jobs[0], OutcomeKind.RELEASE)]) == []
    await drain_outbox(node)
    async with asyncio.timeout(20):
        while await door.get_many([job]) != [None]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
