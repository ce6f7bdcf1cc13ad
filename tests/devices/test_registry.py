import os
import platform
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchbox import devices, host
from benchbox.devices import last_seen, providers, registry, trust
from benchbox.devices.address import Address, ssh_address
from benchbox.devices.registry import Entry
from benchbox.errors import DeviceError, StorageError, UsageError

pytestmark = pytest.mark.usefixtures("in_tmp")


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    """The path of the user's own file, in a folder that there is not yet."""
    return tmp_path / "config" / "benchbox.toml"


def write(file: Path, text: str) -> None:
    """Write a file that the user has."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)


def project(text: str) -> None:
    """Write the file of the project, which the user trusts."""
    Path("benchbox.toml").write_text(text)
    trust.trust(Path("benchbox.toml"), text)


def refusal(do: Callable[[Any], object], given: Any) -> str:
    with pytest.raises(UsageError) as caught:
        do(given)
    return str(caught.value)


PI = Entry("pi", "ssh://me@pi.local:2222", "~/py/bin/python", 2, (2, 3))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ssh://pi", Address("pi")),
        ("ssh://me@pi.local:2222", Address("pi.local", "me", 2222)),
        ("ssh://my_pi.a-b.local.", Address("my_pi.a-b.local.")),
        ("ssh://me@[fe80::1%eth0]:22/", Address("fe80::1%eth0", "me", 22)),
        *((f"ssh://{name}", None) for name in ("", "-oProxyCommand=x", "-l@host", "me@-host")),
        *((f"ssh://{name}", None) for name in ("me@ho st", "me@host\n", "$(id)@host", "me@host;a")),
        *((f"ssh://{name}", None) for name in ("me@host:0", "me@host:65536", "me@host/path")),
        *((f"ssh://{name}", None) for name in ("a..b", f"{'a' * 64}.local", f"{'a.' * 130}b")),
    ],
)
def test_an_address_has_a_host_and_may_have_a_user_and_a_port(
    url: str, expected: Address | None
) -> None:
    if expected is not None:
        assert ssh_address(url) == expected
    else:
        assert "write it as ssh://[user@]host[:port]" in refusal(ssh_address, url)


def test_an_address_holds_no_password() -> None:
    for password in ("secret", "sec@ret", "sec/ret", "sec:ret"):
        said = refusal(ssh_address, f"ssh://me:{password}@host")
        assert "it holds no password" in said and "'ssh://me:***@host'" in said
    said = refusal(registry.check, Entry("pi", "sftp://me:secret@host"))
    assert "'sftp://me:***@host' is no address" in said


NAMES = "a name has a-z, 0-9, _ and -"


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        *((Entry(name, "ssh://pi"), NAMES) for name in ("cpu", "cuda-1", "", "Pi", "-pi", "a\n")),
        (Entry("pi", "http://pi"), "'http://pi' is no address; write ssh://"),
        (Entry("pi", "adb://-x"), "is no address"),
        (Entry("pi", "ssh://pi", "-c x"), "not the path of a program"),
        (Entry("pi", "ssh://pi", "a\nb"), "not the path of a program"),
        (Entry("pi", "ssh://pi", threads=0), "threads 0: choose 1 or more"),
        (Entry("pi", "ssh://pi", cpus=(1, 1)), "name each processor once"),
        (Entry("pi", "ssh://pi", threads=3, cpus=(1, 2)), "for each of its 3 threads"),
    ],
)
def test_what_is_wrong_with_a_device_is_said(entry: Entry, sentence: str) -> None:
    assert sentence in refusal(registry.add, entry)
    assert registry.entries() == {}


@pytest.mark.parametrize("entry", [PI, Entry("pi", "adb://R58", cpus="big", threads=2)])
def test_a_device_comes_back_as_it_was_given(user_file: Path, entry: Entry) -> None:
    assert registry.add(entry) == user_file
    assert registry.find("pi") == replace(entry, file=user_file)
    assert user_file.stat().st_mode & 0o777 == 0o600


def test_a_project_with_devices_keeps_its_own_which_win(user_file: Path) -> None:
    project("[run]\nseed = 1\n")
    assert registry.add(PI) == user_file
    project('[run]\nseed = 1\n\n[devices.a]\nurl = "local"\n')
    assert registry.add(Entry("b", "ssh://b")) == Path("benchbox.toml")
    assert list(registry.entries()) == ["a", "b", "pi"]
    project('[devices.pi]\nurl = "ssh://other"\n')
    found = registry.find("pi")
    assert found is not None and found.url == "ssh://other"


FILE = """# mine
[run]   # defaults
seed = 1

[devices.one]  # the first
url = "ssh://one"
# about its threads
threads = 2

# the second
[devices.two]
url = "ssh://two"
cpus = [0,
  1]

# what follows
[show]
batch = 2
"""


def test_comments_and_all_else_survive(user_file: Path) -> None:
    write(user_file, FILE)
    user_file.chmod(0o644)
    registry.add(PI)
    assert user_file.read_text().startswith(FILE + "\n[devices.pi]\n")
    registry.remove("pi")
    assert user_file.read_text().rstrip() == FILE.rstrip()
    registry.remove("one")
    text = user_file.read_text()
    assert "one" not in text and "# about" not in text
    assert all(line in text for line in ("# mine", "# the second", "# what follows", "seed = 1"))
    registry.remove("two")
    assert tomllib.loads(user_file.read_text()) == {"run": {"seed": 1}, "show": {"batch": 2}}
    assert "# what follows" in user_file.read_text()
    assert user_file.stat().st_mode & 0o777 == 0o644


def test_a_table_written_in_another_way_is_left_to_a_person(user_file: Path) -> None:
    text = '[devices]\npi = {url = "local"}\n'
    write(user_file, text)
    assert "edit it by hand" in refusal(registry.remove, "pi")
    assert user_file.read_text() == text


def test_a_name_is_given_to_one_device() -> None:
    file = registry.add(PI)
    written = file.read_bytes()
    assert registry.add(PI) == file
    assert file.read_bytes() == written
    again = "benchbox device remove pi && benchbox device add pi ssh://other --cpus big"
    with pytest.raises(UsageError, match=rf"already, at {PI.url}: {again}$"):
        registry.add(Entry(PI.name, "ssh://other", cpus="big"))


def test_other_options_take_the_place_of_those_that_were_where_they_stand(user_file: Path) -> None:
    write(user_file, FILE)
    project('[devices.box]\nurl = "local"\n')
    registry.add(Entry("two", "ssh://two", threads=3))
    text = user_file.read_text()
    assert registry.find("two") == Entry("two", "ssh://two", threads=3, file=user_file)
    assert text.count("[devices.two]") == 1 and "two" not in Path("benchbox.toml").read_text()
    assert all(line in text for line in ("# mine", "[devices.one]", "# what follows", "seed = 1"))


@pytest.mark.parametrize("behind", ["middle", "xnnpack", "torch-compile"])
def test_a_name_is_none_that_a_run_on_another_device_is_recorded_as(behind: str) -> None:
    with pytest.raises(UsageError, match=rf"that is what -d pi --\w+ {behind} is recorded as"):
        registry.add(Entry(f"pi-{behind}", "ssh://pi"))
    registry.add(Entry(f"pi{behind}", "ssh://pi"))


def test_a_command_is_one_that_can_be_pasted() -> None:
    assert "'pi' is not registered" in refusal(registry.remove, "pi")
    assert registry.command(replace(PI, python="/opt/my python")) == (
        "benchbox device add pi ssh://me@pi.local:2222 --python '/opt/my python' "
        "--threads 2 --cpus 2,3"
    )


LOCAL = 'url = "local"'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("devices = 1", "devices: not a table of devices"),
        ("[devices]\npi = 1", "devices.pi: not a table"),
        ("[devices.pi]", "devices.pi.url: missing, or no text"),
        (f"[devices.pi]\n{LOCAL}\npassword = 'x'", "devices.pi.password: there is no such"),
        (f"[devices.pi]\n{LOCAL}\nthreads = true", "devices.pi.threads: not a whole"),
        (f"[devices.pi]\n{LOCAL}\npython = 3", "devices.pi.python: not a text"),
        (f"[devices.pi]\n{LOCAL}\ncpus = [true]", "devices.pi.cpus: not a list of whole numbers"),
        (f"[devices.pi]\n{LOCAL}\ncpus = 'medium'", "cpus 'medium': write a list, or big, middle"),
        (f"[devices.Pi]\n{LOCAL}", "device 'Pi': a name has"),
        ("[devices.pi", "not valid TOML"),
    ],
)
def test_a_file_that_is_wrong_names_file_and_key(text: str, sentence: str) -> None:
    project(text)
    said = refusal(registry.find, "Pi" if "Pi" in text else "pi")
    assert said.startswith("benchbox.toml: ")
    assert sentence in said
    assert "\n" not in said


def test_a_table_that_is_wrong_leaves_the_other_devices_as_they_are(user_file: Path) -> None:
    registry.add(PI)
    project('[devices.bad]\nurl = 3\n\n[devices.box]\nurl = "local"\n')
    assert list(registry.entries()) == ["box", "pi"]
    assert list(registry.wrong()) == ["bad"]
    assert registry.find("pi") == replace(PI, file=user_file)
    said = refusal(registry.add, Entry("bad", "ssh://pi"))
    assert "devices.bad.url: missing, or no text" in said
    registry.add(Entry("one", "ssh://one"))
    assert registry.remove("bad") == Path("benchbox.toml")
    assert registry.wrong() == {}
    assert list(registry.entries()) == ["box", "one", "pi"]


def test_a_file_that_cannot_be_written_says_so(user_file: Path) -> None:
    user_file.parent.write_text("a file where the folder should be")
    with pytest.raises(StorageError, match="cannot be written"):
        registry.add(PI)


def test_a_link_to_a_file_stays_one(user_file: Path, tmp_path: Path) -> None:
    user_file.parent.mkdir()
    target = tmp_path / "dotfiles.toml"
    target.write_text("")
    user_file.symlink_to(target)
    registry.add(PI)
    assert user_file.is_symlink()
    assert "pi" in target.read_text()


def test_when_a_device_was_seen_is_kept(cache_dir: Path) -> None:
    assert last_seen.last("ssh://pi") == last_seen.LastSeen()
    last_seen.note("ssh://pi")
    last_seen.note("ssh://nano")
    assert last_seen.last("ssh://pi").at and last_seen.last("ssh://nano").at
    (cache_dir / "devices.json").write_text("[")
    assert last_seen.last("ssh://pi") == last_seen.LastSeen()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "folder" / "file"
    host.write(path, "old")
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        host.write(path, "new")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_pipe_in_place_of_a_file_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    with pytest.raises(OSError, match="no regular file"):
        host.write(tmp_path / "file", "new")


def test_arm_asks_which_of_the_registered_boards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    boards = {"new": "", "xeon": "PowerEdge, x86_64, 8 x CPU", "pi": "Raspberry Pi 5, aarch64"}
    for name, what in boards.items():
        registry.add(Entry(name, f"ssh://{name}"))
        last_seen.note(f"ssh://{name}", what)
    registry.add(Entry("box", "ssh://box", provider="cuda"))
    with pytest.raises(DeviceError, match=r"which of your devices: -d pi or -d new\?$"):
        devices.resolve("arm")


@pytest.mark.parametrize(
    ("name", "own", "gpu"),
    [
        ("gpu1", "gpu1-cuda-0", "cuda:0"),
        ("gpu1-cuda-0", "gpu1-cuda-0", "cuda:0"),
        ("gpu1-cuda-1", "gpu1-cuda-1", "cuda:1"),
        ("cuda-1", "cuda-1", "cuda:1"),
        ("gpu1:cpu", "gpu1-cpu", ""),
        ("gpu1-cpu", "gpu1-cpu", ""),
        ("pi:cpu", "pi", ""),
        ("nas-cpu:cpu", "nas-cpu", ""),
    ],
)
def test_names_of_tables_and_processors_of_a_gpus_machine(name: str, own: str, gpu: str) -> None:
    registry.add(Entry("gpu1", "ssh://box", provider="cuda"))
    registry.add(Entry("pi", "ssh://pi"))
    registry.add(Entry("nas-cpu", "ssh://nas"))
    found = devices.resolve(name)
    assert (found.name, found.gpu) == (own, gpu)
    assert dict(devices.names())["gpu1"] == "ssh://box, cuda"
    with pytest.raises(DeviceError):
        devices.resolve("none-cuda-0")
    with pytest.raises(DeviceError, match="write gpu1, gpu1:cuda, gpu1:cuda:1 or gpu1:cpu"):
        devices.resolve("gpu1:1")
    if found.url:
        other = replace(found, name="arm-cuda-0")
        with pytest.raises(DeviceError, match="it is x86_64, not an ARM one"):
            devices.require_claims(other, "x86_64")
        devices.require_claims(found, "x86_64")


@pytest.mark.parametrize(
    ("name", "gpu"),
    [
        ("gpu1:cpu", "--device gpu1:cuda"),
        ("gpu1-cpu", "--device gpu1:cuda"),
        ("pi", "--device pi:cuda"),
        ("ssh://pi", "--device NAME; name it: benchbox device add NAME ssh://pi --provider cuda"),
        ("adb://phone", "--device cuda"),  # this machine's, as no phone has one
    ],
)
def test_a_provider_for_gpus_names_the_gpu_beside_the_processors(name: str, gpu: str) -> None:
    registry.add(Entry("gpu1", "ssh://box", provider="cuda"))
    registry.add(Entry("pi", "ssh://pi"))
    said = refusal(lambda provider: devices.resolve(name, provider=provider), providers.CUDA)
    assert said == f"--provider cuda: GPUs are timed by {gpu}"
