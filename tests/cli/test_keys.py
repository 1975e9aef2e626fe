"""`zjp keys`: files that only their owner can read, and a folder that says who may connect."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from zmq.utils import z85

from tests.cli.conftest import Run
from zjp.errors import ConfigError
from zjp.transport.curve import KeyPair, make_pair, read_authorized, read_pair, write_pair

pytestmark = [pytest.mark.covers("cli:keys"), pytest.mark.covers("cluster:curve")]

FOLDER = Path("zjp-data/curve")
"""CURVE_DIR by default."""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def public(zjp: Run, *arguments: str) -> str:
    done = zjp("keys", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    key: str = json.loads(done.stdout)["public"]
    return key


def test_nodes_key_lies_in_a_folder_of_its_own_that_nobody_else_can_read(zjp: Run) -> None:
    done = zjp("keys", "node", "--name", "n1")
    assert done.exit_code == 0, done.stderr
    pair = read_pair(FOLDER / "node.key")
    assert (pair.name, pair.public.hex()) == ("n1", done.stdout.strip())
    assert pair.secret.hex() not in done.output
    assert mode(FOLDER) == mode(FOLDER.parent) == 0o700
    assert mode(FOLDER / "node.key") == mode(FOLDER / "node.pub") == 0o600
    assert "secret" not in (FOLDER / "node.pub").read_text()


def test_nodes_id_comes_from_the_setting_or_the_data_folder_or_must_be_given(zjp: Run) -> None:
    done = zjp("keys", "node")
    assert (done.exit_code, "set NODE_ID, or give --name" in done.stderr) == (2, True)
    Path("zjp-data").mkdir(exist_ok=True)
    Path("zjp-data/node-id").write_text("kept-1\n")
    assert zjp("keys", "node").exit_code == 0
    assert read_pair(FOLDER / "node.key").name == "kept-1"
    assert zjp("keys", "node", "--out", "other.key", env={"ZJP_NODE_ID": "set-1"}).exit_code == 0
    assert read_pair(Path("other.key")).name == "set-1"


def test_no_key_is_written_over(zjp: Run) -> None:
    first = public(zjp, "producer", "web")
    done = zjp("keys", "producer", "web")
    assert (done.exit_code, "web.pub is there already" in done.stderr) == (78, True)
    Path("web.pub").unlink()
    done = zjp("keys", "producer", "web")
    assert (done.exit_code, "web.key is there already" in done.stderr) == (78, True)
    assert read_pair(Path("web.key")).public.hex() == first


def test_authorized_keys_are_listed_until_they_are_revoked(zjp: Run) -> None:
    web, watch = public(zjp, "producer", "web"), public(zjp, "producer", "watch")
    assert zjp("keys", "authorize", "web.pub", "--role", "producer").exit_code == 0
    assert zjp("keys", "authorize", watch, "--role", "observer", "--name", "watch").exit_code == 0
    listed = zjp("keys", "list", "--json")
    assert json.loads(listed.stdout) == [
        {"role": "observer", "name": "watch", "public": watch},
        {"role": "producer", "name": "web", "public": web},
    ]
    assert zjp("keys", "revoke", "web", "--yes").exit_code == 0
    assert web not in zjp("keys", "list").stdout
    assert zjp("keys", "revoke", watch, "--yes").exit_code == 0
    assert json.loads(zjp("keys", "list", "--json").stdout) == []


def test_file_of_a_key_may_have_any_name(zjp: Run) -> None:
    """Fails where the name is taken for a text, which must be UTF-8."""
    public(zjp, "producer", "web")
    file = Path(os.fsdecode(b"w\xebb.pub"))
    Path("web.pub").rename(file)
    assert zjp("keys", "authorize", str(file), "--role", "producer").exit_code == 0


def test_a_name_may_have_two_keys_and_one_of_them_be_revoked(zjp: Run) -> None:
    old, new = public(zjp, "producer", "web", "--out", "old.key"), public(zjp, "producer", "web", "--out", "new.key")
    for file in ("old.pub", "new.pub"):
        assert zjp("keys", "authorize", file, "--role", "producer").exit_code == 0
    assert set(read_authorized(FOLDER / "authorized")) == {old, new}
    assert zjp("keys", "revoke", old, "--yes").exit_code == 0
    assert set(read_authorized(FOLDER / "authorized")) == {new}


def test_a_key_has_one_name_and_one_role(zjp: Run) -> None:
    public(zjp, "producer", "web")
    assert zjp("keys", "authorize", "web.pub", "--role", "producer").exit_code == 0
    assert zjp("keys", "authorize", "web.pub", "--role", "producer").exit_code == 0, "again is no error"
    done = zjp("keys", "authorize", "web.pub", "--role", "admin")
    assert (done.exit_code, "authorized as producer web; revoke it first" in done.stderr) == (78, True)


def test_revoking_asks_and_says_when_there_is_nothing(zjp: Run) -> None:
    assert zjp("keys", "revoke", "nobody").exit_code == 2
    done = zjp("keys", "revoke", "nobody", "--yes")
    assert (done.exit_code, "no authorized key has the name 'nobody'" in done.stderr) == (1, True)


@pytest.mark.parametrize("key", ["nothing-here", "ab" * 31, "0" * 63 + "g", "~" * 40])
def test_what_is_no_key_is_told(zjp: Run, key: str) -> None:
    done = zjp("keys", "authorize", key, "--role", "node", "--name", "x")
    assert (done.exit_code, "a key has 64 hexadecimal digits" in done.stderr) == (2, True)


def test_bare_key_needs_a_name_and_z85_is_read_too(zjp: Run) -> None:
    pair = make_pair("x")
    text = z85.encode(pair.public).decode()
    assert zjp("keys", "authorize", "--role", "node", "--", text).exit_code == 2
    assert zjp("keys", "authorize", "--role", "node", "--name", "n2", "--", text).exit_code == 0
    assert set(read_authorized(FOLDER / "authorized")) == {pair.public.hex()}


def test_secret_key_that_others_can_read_is_refused(zjp: Run) -> None:
    public(zjp, "producer", "web")
    Path("web.key").chmod(0o640)
    with pytest.raises(ConfigError, match=r"web.key has mode 0640: a secret key is its owner's alone; chmod 0600"):
        read_pair(Path("web.key"))


def test_folder_that_others_can_write_to_is_refused(zjp: Run) -> None:
    public(zjp, "producer", "web")
    assert zjp("keys", "authorize", "web.pub", "--role", "producer").exit_code == 0
    (FOLDER / "authorized").chmod(0o770)
    done = zjp("keys", "list")
    assert (done.exit_code, "who may write there decides who gets in" in done.stderr) == (78, True)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is no key file"),
        ("name = web\nrole = producer\n", "is no key file"),
        ("name = web\nname = web\nrole = producer\npublic = {key}\n", "is no key file"),
        ("name = web\nrole = root\npublic = {key}\n", "role 'root' is none"),
        ("name = we b\nrole = producer\npublic = {key}\n", "is no name of a key"),
        ("name = web\nrole = producer\npublic = {key}0\n", "public is no key"),
        ("name = web\nrole = producer\npublic = {key}\nsecret = {key}\n", "is no key file"),
        ("\xff\xfe", "not plain text"),
        ("#" * 5000, "is no key file"),
    ],
)
def test_one_bad_file_is_named_and_refuses_the_folder(zjp: Run, text: str, fault: str) -> None:
    """Left out in silence it might be the one that somebody believes to have authorized, or the other half of a contradiction."""
    folder = FOLDER / "authorized"
    folder.mkdir(parents=True)
    (folder / "x.pub").write_text(text.format(key="ab" * 32), "latin-1")
    (folder / "x.pub").chmod(0o600)
    done = zjp("keys", "list")
    assert (done.exit_code, fault in done.stderr) == (78, True), done.stderr


def test_halves_of_two_keys_are_no_pair(tmp_path: Path) -> None:
    one, other = make_pair("web"), make_pair("web")
    write_pair(tmp_path / "mixed.key", KeyPair("web", one.public, other.secret))
    with pytest.raises(ConfigError, match="are not halves of one key"):
        read_pair(tmp_path / "mixed.key")


def test_secret_is_shown_nowhere() -> None:
    pair = make_pair("web")
    assert pair.secret.hex() not in repr(pair)
    assert str(pair.secret) not in repr(pair)
