import getpass
import socket
from pathlib import Path

import pytest

from benchbox.runner import record as runner_record


def test_a_reason_names_neither_folders_nor_machine_nor_user(
    in_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "tower-17")
    home, here = Path.home(), in_tmp.resolve()
    text = (
        f"{here}/models/net.onnx: {home}/.cache/x.py, line 3; '/opt/lib/a.so' "
        f"(/usr/lib/b.so) on {socket.gethostname()} by {getpass.getuser()}"
    )
    shared = runner_record.shareable(text)
    assert shared.startswith("models/net.onnx: .cache/x.py, line 3; 'a.so' (b.so) on ")
    for secret in (str(home) + "/", str(here), "/opt", "/usr"):
        assert secret not in shared
    assert socket.gethostname() not in shared.split()
    assert getpass.getuser() not in shared.split() or getpass.getuser() == "root"


@pytest.mark.parametrize(
    "text",
    ["ONNX Runtime differs by 3.1e-05", "a/b of 1/2", "./mine.py:build has no 'c'", "8x8: too big"],
)
def test_a_reason_without_places_stays_as_it_is(text: str) -> None:
    assert runner_record.shareable(text) == text


def test_a_long_reason_keeps_its_end() -> None:
    shared = runner_record.shareable("begins " + "x" * 900 + " and ends")
    assert shared.startswith("begins xx")
    assert shared.endswith("xx and ends")
    assert len(shared) <= runner_record.LONGEST + 1


@pytest.mark.parametrize("name", ["a", "run", "cpu", "error", "the", "session"])
def test_a_host_that_is_called_like_a_word_leaves_sentences_whole(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: name)
    monkeypatch.setenv("LOGNAME", name)
    words = "the run on a cpu of this session ended with an error"
    assert runner_record.shareable(words) == words
    told = runner_record.shareable(f"no {name}@{name}:22, ~{name}/x, ssh://{name}, /home/{name}/y")
    assert told == "no …@…:22, ~…/x, ssh://…, y"


def test_a_folder_that_ends_like_the_current_one_is_dropped_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/jobs")
    monkeypatch.chdir(tmp_path)
    assert runner_record.shareable("/data/jobs/net.onnx is broken") == "net.onnx is broken"


@pytest.mark.parametrize("user", ["mary", "o'hara", "a.b"])
def test_a_user_is_left_out_by_name(user: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", user)
    assert user not in runner_record.shareable(f"denied to {user}, says the system")
