"""Payloads and options: what is taken, and what the refusal of the rest says."""

from __future__ import annotations

import enum
import types
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.mischief import SlowDict
from zjp.client.deeds import batches
from zjp.client.options import OPTION_NAMES, JobRequest, make_spec, request_of
from zjp.client.packing import pack_payload, unpack
from zjp.client.schedules import adding, changing
from zjp.errors import InvalidJob, WireError
from zjp.schedule import Removable, ScheduleChange

pytestmark = pytest.mark.covers("main-path:9", "client:plain-data", "main-path:judged:6")

SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()
)
PLAIN = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))
ID = bytes(16)


class Colour(enum.IntEnum):
    RED = 1


@given(st.dictionaries(st.text(), PLAIN, max_size=5))
def test_plain_data_comes_back_as_it_was(payload: dict[str, Any]) -> None:
    assert unpack(pack_payload(payload), "it") == payload


def test_payload_that_runs_code_while_it_is_packed_does_not_get_into_those_of_other_threads() -> None:
    """As a class derived from dict may; the interpreter is given away in its midst."""

    def flat(number: int) -> dict[str, Any]:
        return {"n": number, "k": "x" * (number % 7)}

    def slow(number: int) -> dict[str, Any]:
        return {"inner": SlowDict({f"{number}-{index}": number for index in range(20)})}

    with ThreadPoolExecutor(4) as threads:
        packed = list(threads.map(pack_payload, [slow(number) if number % 20 == 0 else flat(number) for number in range(400)]))
    for number, payload in enumerate(packed):
        wanted = {"inner": dict.copy(slow(number)["inner"])} if number % 20 == 0 else flat(number)
        assert unpack(payload, "it") == wanted


def test_nothing_is_an_empty_map() -> None:
    assert pack_payload(None) == pack_payload({}) == b"\x80"


def test_tuples_arrive_as_lists_and_other_mappings_as_dicts() -> None:
    payload = types.MappingProxyType({"a": (1, Colour.RED), "b": bytearray(b"x")})
    assert unpack(pack_payload(payload), "it") == {"a": [1, 1], "b": b"x"}


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ({"when": datetime(2030, 1, 1)}, "payload['when'] is a datetime, which is not plain data"),
        ({"a": {"b": [1, {"c": {1, 2}}]}}, "payload['a']['b'][1]['c'] is a set"),
        ({"price": Decimal(1)}, "payload['price'] is a Decimal"),
        ({1: "a"}, "payload has the key 1 of type int; keys must be str"),
        ({"a": {2: "b"}}, "payload['a'] has the key 2 of type int"),
        ({"n": 1 << 64}, "payload['n'] is an integer beyond 64 bits; pass it as str"),
        ({"s": "\ud800"}, "payload['s'] is text that cannot be encoded"),
        (["recipient"], 'payload is a list, it must be a dict of the task\'s parameters, as in {"recipient": ...}'),
        ("text", "payload is a str"),
        ([], "payload is a list"),
    ],
)
def test_what_cannot_travel_is_named_with_its_place(payload: Any, text: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        pack_payload(payload)
    assert text in str(caught.value)


def test_endless_nesting_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidJob, match="nested more than 64 deep"):
        pack_payload({"loop": loop})


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\xd4\x01x", msgpack.packb({1: 2}), b"\x91" * 2000, b"\x80\x80"])
def test_what_is_no_plain_msgpack_is_a_wire_error(data: bytes) -> None:
    with pytest.raises(WireError, match="the result cannot be read"):
        unpack(data, "the result")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"priority": 11}, "priority is 11, it must be 1 (low) to 10 (high)"),
        ({"priority": True}, "priority is True of type bool, it must be int"),
        ({"queue": "my mail"}, "queue 'my mail' holds spaces"),
        ({"queue": 3}, "queue is 3 of type int, it must be str"),
        ({"delay": "soon"}, "delay: 'soon' is not a duration"),
        ({"delay": 1, "countdown": 1}, "delay and countdown are both set"),
        ({"delay": 1, "run_at": 5_000_000_000}, "delay and run_at are both set"),
        ({"run_at": "tomorrow"}, "run_at is 'tomorrow', it must be Unix seconds"),
        ({"max_retries": -1}, "max_retries is -1"),
        ({"max_retries": "3"}, "max_retries is '3' of type str"),
        ({"timeout": 0}, "timeout is 0 ms"),
        ({"tags": "a"}, "tags is the text 'a'; give a list, as in tags=['a']"),
        ({"id": "order-7"}, "job id 'order-7' is not a UUID"),
        ({"id": 7}, "job id is a int, it must be the text of a UUID; for other keys use idempotency_key"),
        ({"id": b"short"}, "job id is 5 bytes, it must be 16"),
        ({"tags": [None]}, "tag is None of type NoneType, it must be str"),
        ({"tags": 5}, "tags is 5 of type int; give a list, as in tags=['nightly']"),
        ({"priority": 5.0}, "priority is 5.0 of type float, it must be int"),
        ({"max_retries": 1.5}, "max_retries is 1.5 of type float, it must be int"),
        ({"timeout": []}, "timeout: [] is not a duration"),
        ({"soft_timeout": 10**400}, "is not between 0 and 100 years"),
        ({"run_at": True}, "run_at is True, it must be Unix seconds"),
        ({"run_at": {}}, "run_at is {}, it must be Unix seconds"),
        ({"unique_key": 5}, "unique_key is 5 of type int, it must be str"),
        ({"idempotency_key": b"k"}, "idempotency_key is b'k' of type bytes, it must be str"),
    ],
)
def test_wrong_options_are_told_with_what_is_right(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        make_spec(ID, "t", b"\x80", options)
    assert text in str(caught.value)


@pytest.mark.parametrize("type", ["", "a b", "x" * 129, 7, None, ["a"], {}])
@pytest.mark.parametrize("options", [None, {"priority": 3}])
def test_a_wrong_type_is_refused(type: Any, options: Any) -> None:
    with pytest.raises(InvalidJob, match="type"):
        make_spec(ID, type, b"\x80", options)


def test_an_option_that_is_none_is_one_that_was_not_given() -> None:
    assert make_spec(ID, "t", b"\x80", dict.fromkeys(OPTION_NAMES)) == make_spec(ID, "t", b"\x80", None)


@pytest.mark.parametrize(
    ("jobs", "text"),
    [
        (None, "jobs is None of type NoneType; give a list of"),
        (5, "jobs is 5 of type int"),
        ([None], "None is not a job"),
        ([(None, {})], "type is None of type NoneType, it must be str"),
        ([(["a"], {})], "type is ['a'] of type list, it must be str"),
        ([{"type": "t", "tags": [None]}], "tag is None"),
        ([JobRequest("t", {}, 5)], "options is 5 of type int, it must be Mapping"),  # type: ignore[arg-type]
    ],
)
def test_wrong_jobs_of_a_batch_are_told_with_what_is_right(jobs: Any, text: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        list(batches(jobs, {}, lambda count: [ID] * count))
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"name": None}, "name is None of type NoneType"),
        ({"name": ""}, "name has 0 characters"),
        ({"type": 5}, "type is 5 of type int"),
        ({"type": []}, "type is [] of type list"),
        ({"cron": 5}, "cron is 5 of type int, it must be str"),
        ({"every": []}, "every: [] is not a duration"),
        ({"zone": 5}, "zone is 5 of type int, it must be str"),
        ({"catch_up": 5}, "catch_up is 5, it must be one of skip, once, all"),
        ({"paused": "no"}, "paused is 'no' of type str, it must be bool"),
        ({"options": {"tags": [None]}}, "tag is None"),
    ],
)
def test_wrong_schedules_are_told_with_what_is_right(given: dict[str, Any], text: str) -> None:
    right = {
        "name": "n",
        "type": "t",
        "payload": None,
        "cron": None,
        "every": "5s",
        "zone": "UTC",
        "catch_up": "once",
        "paused": False,
    }
    for ask in (adding, changing):
        with pytest.raises(InvalidJob) as caught:
            ask(**{**right, "options": {}, **given})  # type: ignore[operator]
        assert text in str(caught.value)


def test_a_change_leaves_what_is_none_as_it_is() -> None:
    nothing = dict.fromkeys(("type", "payload", "cron", "every", "zone", "catch_up", "paused"))
    options = dict.fromkeys(("queue", "priority", "tags", "timeout"))
    change = changing("n", **nothing, options=options).change  # type: ignore[arg-type]
    assert change == ScheduleChange()


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"tags": []}, ScheduleChange(tags=())),
        ({"tags": iter(["a"])}, ScheduleChange(tags=("a",))),
        ({"max_retries": 0, "timeout": 5}, ScheduleChange(max_retries=0, timeout_ms=5_000)),
        ({"queue": "default", "priority": 5}, ScheduleChange(queue="default", priority=5)),
        ({"unique_key": "k", "soft_timeout": "1m"}, ScheduleChange(unique_key="k", soft_timeout_ms=60_000)),
    ],
)
def test_a_change_says_what_is_given_also_where_that_is_the_default(options: dict[str, Any], change: ScheduleChange) -> None:
    nothing = dict.fromkeys(("type", "payload", "cron", "every", "zone", "catch_up", "paused"))
    assert changing("n", **nothing, options=options).change == change  # type: ignore[arg-type]
    assert changing("n", **{**nothing, "payload": {}}, options={}).change == ScheduleChange(payload=b"\x80")  # type: ignore[arg-type]


def test_a_change_names_what_is_to_be_taken_away() -> None:
    nothing: dict[str, Any] = {**dict.fromkeys(("type", "payload", "cron", "every", "zone", "catch_up", "paused")), "options": {}}
    for names in ("timeout", ["timeout"], iter(["timeout", "timeout"])):
        assert changing("n", **nothing, without=names).change == ScheduleChange(without=(Removable.TIMEOUT,))
    with pytest.raises(InvalidJob, match="without has 'tags'; what can be taken away is max_retries, timeout, soft_timeout, unique_key"):
        changing("n", **nothing, without=["tags"])
    with pytest.raises(InvalidJob, match="timeout is given and in without, too"):
        changing("n", **{**nothing, "options": {"timeout": 5}}, without=["timeout"])


def test_options_that_say_nothing_cost_nothing_on_the_wire() -> None:
    assert make_spec(ID, "t", b"\x80", {"delay": None, "tags": (), "priority": 5}).options is None


@pytest.mark.parametrize("given", [("a",), {"payload": {}}, "email", 3])
def test_what_is_no_job_is_refused(given: Any) -> None:
    with pytest.raises(InvalidJob, match="job"):
        request_of(given)
