"""What the command line understands, and what it says and exits with when it does not."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest

from tests.cli.conftest import Run
from zjp import Client
from zjp.cli import VERBS, cli
from zjp.cli.submit import moment, read_payload
from zjp.config import TABLE
from zjp.errors import NotAllowed, ZjpError

pytestmark = pytest.mark.covers("main-path:10")


# ── the group ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_help_names_every_verb_in_one_line_each(zjp: Run) -> None:
    told = zjp("--help")
    assert told.exit_code == 0
    lines = [line.split()[0] for line in told.stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert lines == list(VERBS)


@pytest.mark.parametrize("verb", ["workflows"])
def test_verbs_of_later_versions_are_not_there(zjp: Run, verb: str) -> None:
    told = zjp(verb)
    assert told.exit_code == 2
    assert f"No such command '{verb}'" in told.stderr


def test_every_reading_command_has_json() -> None:
    reading = [
        *(cli.get_command(click.Context(cli), verb) for verb in ("submit", "stats", "top", "config", "doctor", "bench")),
        *(_below("jobs", name) for name in ("list", "show", "cancel", "retry", "promote", "wait")),
        *(_below("queues", name) for name in ("list", "purge")),
        *(_below("schedules", name) for name in ("add", "change", "list", "show", "pause", "resume", "run", "remove")),
        *(_below("cluster", name) for name in ("nodes", "leader", "health", "history", "watch")),
    ]
    assert [command.name for command in reading if command and "--json" not in _options(command)] == []


def _below(group: str, name: str) -> click.Command:
    found = cli.get_command(click.Context(cli), group)
    assert isinstance(found, click.Group)
    return found.commands[name]


def _options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


def test_help_and_completion_load_no_socket_no_loop_and_no_terminal_library() -> None:
    run = (
        "import sys; from click.testing import CliRunner; from zjp.cli import cli; CliRunner().invoke(cli, ['--help']);"
        "CliRunner().invoke(cli, ['completion', 'zsh']); print(*{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, timeout=60, check=True)
    assert set(done.stdout.split()) & {"zmq", "asyncio", "uvloop", "sqlite3", "rich"} == set()


@pytest.mark.covers("cli:completion")
@pytest.mark.parametrize(("shell", "sign"), [("bash", "complete -o nosort"), ("zsh", "compdef"), ("fish", "complete --no-files")])
def test_completion_prints_a_script_for_each_shell(zjp: Run, shell: str, sign: str) -> None:
    told = zjp("completion", shell)
    assert told.exit_code == 0
    assert sign in told.stdout
    assert "_ZJP_COMPLETE" in told.stdout


@pytest.mark.covers("cli:completion")
def test_the_shell_is_told_the_verbs_and_their_options(zjp: Run) -> None:
    asked = {"_ZJP_COMPLETE": "bash_complete", "COMP_WORDS": "zjp jobs ca", "COMP_CWORD": "2"}
    assert zjp(env=asked).stdout.split() == ["plain,cancel"]


# ── exit codes ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("cli:exit-codes")
def test_usage_errors_exit_with_2(zjp: Run) -> None:
    assert zjp("submit").exit_code == 2
    assert zjp("jobs", "list", "--status", "done").exit_code == 2
    assert zjp("--no-such-option").exit_code == 2


@pytest.mark.covers("cli:exit-codes")
@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("jobs", "list", "--type"), "--type"), (("jobs", "list", "--tag"), "--tag"), (("jobs", "list", "--queue"), "--queue"),
        (("jobs", "show"), "JOB_ID"), (("submit", "echo", "--unique-key"), "--unique-key"), (("submit", "echo"), "[KEY=VALUE]..."),
        (("queues", "pause"), "QUEUE"), (("schedules", "run"), "NAME"), (("cluster", "drain"), "NODE"), (("bench", "--type"), "--type"),
    ],
)  # fmt: skip
def test_text_that_is_not_utf_8_is_refused_by_the_name_of_its_option(zjp: Run, arguments: tuple[str, ...], name: str) -> None:
    told = zjp(*arguments, os.fsdecode(b"a=b\xff\n"))
    assert told.exit_code == 2
    assert f"Invalid value for '{name}': 'a=b\\xff\\n' is not UTF-8; give it as UTF-8" in told.stderr


ID = "0197a3f0-0000-7000-8000-000000000000"
KEY = "ab" * 32
WRONG = [
    ("submit e --id xyz", "'--id': job id 'xyz' is not a UUID"),
    ("submit e --id ''", "'--id': job id '' is not a UUID"),
    ("submit e --timeout 0", "timeout is 0 ms, it must be 1 to"),
    ("submit e --soft-timeout 0", "soft_timeout is 0 ms, it must be 1 to"),
    ("submit e --delay 9000d", "delay is 777600000000 ms, it must be 0 to"),
    ("submit e --delay 1s --run-at 2030-01-01T00:00:00Z", "delay and run_at are both set"),
    ("submit 'a b'", "type 'a b' holds spaces"),
    ("submit e --queue ''", "queue has 0 characters, it must have 1 to 64"),
    ("submit e --queue a,b", "queue 'a,b' cannot be named in QUEUES"),
    ("submit e --unique-key ''", "unique_key is empty, it must have 1 to 256 characters"),
    ("submit e --idempotency-key ''", "idempotency_key is empty, it must have 1 to 256 characters"),
    ("submit e --tag ''", "tag has 0 characters, it must have 1 to 64"),
    ("submit e n=99999999999999999999", "payload['n'] is an integer beyond 64 bits"),
    ("submit e --address http://127.0.0.1:1 --idempotency-key ü", "travels as an HTTP header: printable ASCII only"),
    ("jobs show x", "'JOB_ID': job id 'x' is not a UUID"),
    ("jobs cancel x", "job id 'x' is not a UUID"),
    ("jobs retry x", "job id 'x' is not a UUID"),
    ("jobs promote x", "job id 'x' is not a UUID"),
    (f"jobs cancel {ID} x", "job id 'x' is not a UUID"),
    ("jobs wait x", "job id 'x' is not a UUID"),
    ("jobs list --type ''", "'--type': type has 0 characters, it must have 1 to 128"),
    ("jobs list --queue 'a b'", "'--queue': queue 'a b' holds spaces"),
    ("jobs list --tag ''", "'--tag': tag has 0 characters, it must have 1 to 64"),
    ("queues pause 'a b'", "'QUEUE': queue 'a b' holds spaces"),
    ("queues resume ''", "'QUEUE': queue has 0 characters, it must have 1 to 64"),
    (f"queues purge {'q' * 65} --yes", "'QUEUE': queue has 65 characters, it must have 1 to 64"),
    ("schedules add 'a b' e --every 1h", "'NAME': name 'a b' holds spaces"),
    ("schedules add a e", "a schedule has a cron expression or an interval (every), none of them is"),
    ("schedules add a e --every 1h --cron '* * * * *'", "both are set; give one of them"),
    ("schedules add a e --every 0", "'--every': 0s is not between 1s and 366d"),
    ("schedules add a e --every 400d", "'--every': 400d is not between 1s and 366d"),
    ("schedules add a e --cron '61 * * * *'", "cron '61 * * * *' is not understood (Bad minute)"),
    ("schedules add a e --every 1h --timeout-job 0", "timeout is 0 ms, it must be 1 to"),
    ("schedules add a e --every 1h --unique-key ''", "unique_key is empty"),
    ("schedules change a --every 1h --cron '* * * * *'", "both are set; give one of them"),
    ("schedules change a --cron x", "cron 'x' is not understood"),
    ("schedules change a --type 'x y'", "type 'x y' holds spaces"),
    ("schedules show 'a b'", "name 'a b' holds spaces"),
    ("schedules pause ''", "name has 0 characters, it must have 1 to 48"),
    ("schedules resume 'a b'", "name 'a b' holds spaces"),
    ("schedules remove 'a b' --yes", "name 'a b' holds spaces"),
    ("schedules run 'a b'", "name 'a b' holds spaces"),
    ("stats --timeout 0", "'--timeout': it is 0 s, the least is 0.001 s (1ms)"),
    ("--timeout 0 stats", "'--timeout': it is 0 s, the least is 0.001 s (1ms)"),
    ("stats --timeout 20m", "'--timeout': it is 1200 s, the limit is 600 s"),
    ("top --once --timeout 0", "'--timeout': it is 0 s, the least is 0.001 s (1ms)"),
    ("keys producer 'a b'", "'NAME': 'a b' is no name of a key"),
    ("keys producer a --out ''", "'--out': '' is no place for a secret key"),
    ("keys producer a --out a.pub", "'--out': 'a.pub' is no place for a secret key"),
    ("keys node --name 'a b'", "'--name': 'a b' is no name of a key"),
    (f"keys authorize {KEY} --role producer --name 'a b'", "'--name': 'a b' is no name of a key"),
    (f"keys authorize {'x' * 5000} --role producer", "there is no such file, and as a key it is no key: 5000 characters"),
    ("users passwd 'a b' --password-file -", "'NAME': 'a b' is no name of a user"),
    ("users remove 'a b' --yes", "'NAME': 'a b' is no name of a user"),
    ("token --ttl 0 --name ann --password-file -", "--role and --ttl are for --local"),
    ("bench --type 'a b'", "type 'a b' holds spaces"),
    ("bench --payload [1]", "the payload is a list; give a JSON object"),
    (f"bench --payload {'[' * 100_000}", "the payload is not JSON: it is nested too deeply"),
]
"""What is known to be wrong where it was typed."""


@pytest.mark.covers("cli:exit-codes")
@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line[:60] for line, _ in WRONG])
def test_value_that_is_known_here_to_be_wrong_is_wrong_usage_and_nothing_is_asked(zjp: Run, tmp_path: Path, line: str, said: str) -> None:
    told = zjp(*shlex.split(line))
    assert (told.exit_code, told.stdout) == (2, ""), told.stderr
    assert said in " ".join(told.stderr.split())
    assert [file.name for file in tmp_path.iterdir()] == []


def test_names_of_files_may_be_any_bytes(zjp: Run, tmp_path: Path) -> None:
    settings = tmp_path / os.fsdecode(b"a\xff.toml")
    settings.write_text("")
    assert zjp("config", "--config", str(settings)).exit_code == 0


@pytest.mark.covers("cli:exit-codes", "main-path:judged:6")
def test_bad_settings_exit_with_78_and_one_message_that_lists_them_all(zjp: Run) -> None:
    told = zjp("stats", env={"ZJP_WORKER_COUNT": "many", "LEASE_DURATION": "1ms", "ZJP_DATADIR": "x"})
    assert told.exit_code == 78
    assert told.stderr.startswith("zjp: 3 settings are wrong")
    assert all(name in told.stderr for name in ("WORKER_COUNT=many", "LEASE_DURATION=1ms", "did you mean ZJP_DATA_DIR"))
    assert told.stdout == ""


@pytest.mark.covers("cli:exit-codes", "main-path:judged:6")
def test_no_node_exits_with_69_and_says_where_it_was_looked_for_and_how_to_start_one(zjp: Run, tmp_path: Path) -> None:
    told = zjp("--timeout", "200ms", "stats")
    assert told.exit_code == 69
    assert str(tmp_path) in told.stderr
    assert "python -m zjp.node" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1


class Planted:
    """A verb that ends in whatever the test wants; removed afterwards."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    def raises(self, fault: BaseException) -> None:
        @click.command("stats")
        def command() -> None:
            raise fault

        self._monkeypatch.setattr("zjp.cli.stats.command", command)


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> Planted:
    return Planted(monkeypatch)


@pytest.mark.covers("cli:exit-codes")
def test_our_own_bug_exits_with_70_and_tells_how_to_get_the_traceback(zjp: Run, planted: Planted) -> None:
    planted.raises(KeyError("oops"))
    told = zjp("stats")
    assert told.exit_code == 70
    assert told.stderr.splitlines() == [
        "zjp: this is a bug of zjp: KeyError: 'oops'; run it again as `zjp --debug ...` for the traceback, and report that"
    ]
    assert "Traceback" in zjp("--debug", "stats").stderr


@pytest.mark.covers("cli:exit-codes")
def test_what_is_not_allowed_exits_with_77(zjp: Run, planted: Planted) -> None:
    planted.raises(NotAllowed("Purge needs role admin"))
    told = zjp("stats")
    assert (told.exit_code, told.stderr) == (77, "zjp: Purge needs role admin\n")


@pytest.mark.covers("cli:exit-codes")
def test_an_interrupt_exits_with_130_and_without_a_traceback(zjp: Run, planted: Planted) -> None:
    planted.raises(KeyboardInterrupt())
    told = zjp("stats")
    assert (told.exit_code, told.stderr) == (130, "\nzjp: interrupted\n"), "nothing was submitted that could go on"


@pytest.mark.covers("cli:exit-codes")
@pytest.mark.parametrize(
    ("line", "call", "said"),
    [
        ("submit e", "submit", "; the job may have been submitted"),
        ("submit e", "ping", "; what was submitted goes on"),
        (f"jobs wait {ID}", "wait_all", "; what was submitted goes on"),
        ("schedules run a --wait", "_run_schedule", "; the job may have been submitted"),
        ("jobs list", "jobs", ""),
        ("cluster watch", "cluster", ""),
        ("queues purge q --yes", "purge", ""),
    ],
)
def test_an_interrupt_says_what_goes_on_where_something_does(
    zjp: Run, monkeypatch: pytest.MonkeyPatch, line: str, call: str, said: str
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "queues", lambda self: [])
    monkeypatch.setattr(Client, "submit", lambda self, *_, **__: None)
    monkeypatch.setattr(Client, call, interrupted)
    told = zjp(*line.split())
    assert (told.exit_code, told.stderr) == (130, f"\nzjp: interrupted{said}\n")


@pytest.mark.covers("cli:exit-codes")
def test_a_wait_that_is_over_exits_with_69(zjp: Run, planted: Planted) -> None:
    planted.raises(TimeoutError("not finished after 1s"))
    assert (zjp("stats").exit_code, zjp("stats").stderr) == (69, "zjp: not finished after 1s\n")


def test_a_reader_that_leaves_early_is_no_error(zjp: Run, planted: Planted) -> None:
    planted.raises(BrokenPipeError())
    assert (zjp("stats").exit_code, zjp("stats").stderr) == (0, "")


@pytest.mark.covers("cli:exit-codes")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize(("argument", "unbuffered"), [("config", ""), ("config", "1"), ("--help", "")])
def test_output_that_cannot_be_written_exits_with_1_and_says_why(argument: str, unbuffered: str) -> None:
    told = run_into_full(["zjp", argument], unbuffered)
    assert told.stderr.startswith("zjp: the output could not be written: No space left on device")
    assert (told.returncode, len(told.stderr.splitlines())) == (1, 1)


@pytest.mark.covers("cli:exit-codes")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["zjp.node --help", "zjp.node --version", "zjp.api --help", "zjp node --help"])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_help_of_a_daemon_that_cannot_be_written_is_told_in_one_line(command: str, unbuffered: str) -> None:
    told = run_into_full(command.split(), unbuffered)
    assert (told.returncode, told.stderr) == (1, "the output could not be written: No space left on device\n")


def run_into_full(module: list[str], unbuffered: str) -> subprocess.CompletedProcess[str]:
    with open("/dev/full", "w", encoding="utf-8") as full:
        return subprocess.run(
            [sys.executable, "-m", *module],
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.mark.covers("cli:exit-codes")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("queues purge q", "this cannot be undone: add --yes"),
        ("submit add --payload-file -", "the payload is not JSON"),
        ("users add ann --role user", "there is no terminal to ask for the password"),
        ("users add ann --role user --password-file -", "its first line is empty"),
    ],
)
def test_a_closed_stdin_has_nothing_to_say_and_is_no_bug_of_ours(line: str, said: str) -> None:
    """Fails where Python's None for it is asked whether it is a terminal."""
    told = subprocess.run(
        ["sh", "-c", f"exec {sys.executable} -m zjp {line} 0<&-"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (told.returncode, said in told.stderr) == (2, True), told.stderr


@pytest.mark.covers("cli:exit-codes")
def test_a_fault_of_the_system_that_is_not_the_output_s_is_a_bug_of_ours(zjp: Run, planted: Planted) -> None:
    planted.raises(PermissionError("no"))
    assert zjp("stats").exit_code == 70


def test_every_error_of_ours_has_an_exit_code_of_the_contract() -> None:
    def below(kind: type[ZjpError]) -> set[int]:
        return {kind.exit_code}.union(*(below(child) for child in kind.__subclasses__()))

    assert below(ZjpError) <= {1, 69, 75, 77, 78}


# ── submit ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("cli:submit")
def test_values_are_json_where_they_are_json_else_text() -> None:
    payload = read_payload(("to=a@example.com", "copies=2", 'phone="123"', "eq=a=b", "none=null", "zip=01234"), None, None)
    assert payload == {"to": "a@example.com", "copies": 2, "phone": "123", "eq": "a=b", "none": None, "zip": "01234"}
    deep = "[" * 100_000
    assert read_payload(("who=NaN", "last=-Infinity", f"deep={deep}"), None, None) == {"who": "NaN", "last": "-Infinity", "deep": deep}


@pytest.mark.covers("cli:submit")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"city": "Zürich"}'.encode("latin-1"), "--payload-file is not UTF-8 (byte 11)"),
        (b'{"a": ' + b"[" * 100_000, "the payload is not JSON: it is nested too deeply"),
        (b'{"a": NaN}', "the payload is not JSON: NaN is no JSON"),
        (b'{"a": 1e999}', "the payload is not JSON: 1e999 is larger than a number may be"),
        (b'{"a": {"b": 1, "b": 2}}', "the payload is not JSON: 'b' stands twice in one object"),
    ],
)
def test_file_that_is_no_json_in_utf_8_is_refused_and_never_altered(zjp: Run, tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "payload.json"
    file.write_bytes(content)
    told = zjp("submit", "email", "--payload-file", str(file))
    assert told.exit_code == 2
    assert said in " ".join(told.stderr.split())


@pytest.mark.covers("cli:submit")
def test_single_values_win_over_the_payload() -> None:
    assert read_payload(("a=3",), '{"a": 1, "b": 2}', None) == {"a": 3, "b": 2}


@pytest.mark.covers("cli:submit")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--payload", "{"], "the payload is not JSON"),
        (["--payload", "[1]"], "the payload is a list; give a JSON object"),
        (["--payload", "{}", "--payload-file", "-"], "--payload or --payload-file, not both"),
        (["novalue"], "'novalue' is not KEY=VALUE"),
        (["a=1", "b=2", "a=3"], "a= is given twice"),
        (["a=-1e999"], "the value of a= is JSON that would be altered: -1e999 is larger than a number may be"),
        (['a={"b":1,"b":2}'], "the value of a= is JSON that would be altered: 'b' stands twice in one object"),
        (["--priority", "11"], "11 is not in the range 1<=x<=10"),
        (["--delay", "5 parsecs"], "unknown unit"),
        (["--run-at", "tomorrow"], "accepted: 2030-01-31T12:00:00Z"),
    ],
)
def test_a_wrong_submit_is_told_before_anything_is_sent(zjp: Run, arguments: list[str], said: str) -> None:
    told = zjp("submit", "email", *arguments)
    assert told.exit_code == 2
    assert said in told.stderr


@pytest.mark.covers("cli:submit")
def test_moments_have_a_zone_or_are_utc() -> None:
    told = {moment(text) for text in ("2030-01-01T00:00:00Z", "2030-01-01T02:00:00+02:00", "2030-01-01T00:00:00")}
    assert told == {1_893_456_000}


# ── config ───────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("cli:config", "settings:origins")
def test_config_shows_value_and_origin_of_each_setting(zjp: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('lease_duration = "20s"\n')
    told = json.loads(zjp("config", "--json", "--config", "mine.toml", env={"ZJP_WORKER_COUNT": "3"}).stdout)
    rows = {row["name"]: (row["value"], row["origin"]) for row in told}
    assert rows["WORKER_COUNT"] == ("3", "environment ZJP_WORKER_COUNT")
    assert rows["LEASE_DURATION"] == ("20s", "mine.toml")
    assert rows["CRASH_LIMIT"] == ("3", "default")


@pytest.mark.covers("cli:config")
def test_config_shows_what_this_version_has_and_the_rest_on_demand(zjp: Run) -> None:
    assert len(zjp("config").stdout.splitlines()) == 1 + sum(not row.later for row in TABLE.values())
    assert len(zjp("config", "--all").stdout.splitlines()) == 1 + len(TABLE)


# ── what cannot be undone ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("cli:yes")
def test_purge_without_yes_and_without_a_person_does_nothing(zjp: Run) -> None:
    told = zjp("queues", "purge", "default")
    assert told.exit_code == 2
    assert "add --yes" in told.stderr


@pytest.mark.covers("cli:queues-purge")
@pytest.mark.parametrize("timeout", [[], ["--timeout", "200ms"]])
def test_purge_says_as_soon_as_other_verbs_that_nobody_answers(zjp: Run, timeout: list[str]) -> None:
    began = time.monotonic()
    told = zjp("queues", "purge", "q", "--yes", "--address", "tcp://127.0.0.1:1", *timeout)
    assert (told.exit_code, "no node could be reached" in told.stderr) == (69, True)
    assert time.monotonic() - began < 60


# ── NO_COLOR ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.covers("cli:no-color")
def test_no_color_keeps_colours_out(zjp: Run) -> None:
    assert "\x1b[" in zjp("config", color=True).stdout
    assert "\x1b[" not in zjp("config", color=True, env={"NO_COLOR": "1"}).stdout
