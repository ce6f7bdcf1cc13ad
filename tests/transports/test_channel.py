"""What every channel to a process does, be it on this machine, behind ssh or behind adb."""

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from benchbox.transports import channel
from benchbox.transports.board import commands
from benchbox.transports.channel import ChannelClosed, ProcessChannel, Timeout
from tests.transports.conftest import PYTHON, connect

pytestmark = pytest.mark.slow
ECHO = "import sys\nfor line in sys.stdin: sys.stdout.write(line); sys.stdout.flush()"
Start = Callable[[str], ProcessChannel]


@pytest.fixture
def local() -> Iterator[Start]:
    """A function that runs Python code behind a channel."""
    started: list[ProcessChannel] = []

    def run(code: str) -> ProcessChannel:
        started.append(ProcessChannel([sys.executable, "-I", "-S", "-u", "-c", code]))
        return started[-1]

    yield run
    for each in started:
        each.kill()


@pytest.fixture(params=["local", "ssh", "adb"])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    if request.param == "local":
        yield request.getfixturevalue("local")
        return
    link = connect(request.getfixturevalue(f"over_{request.param}").device)
    python = f"exec {shlex.quote(PYTHON)} -I -S -u -c "
    with closing(link):
        yield lambda code: link.start(commands.shell(python + shlex.quote(code)))


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_messages_come_back(start: Start) -> None:
    echo = start(ECHO)
    for message in ({"op": "hello"}, {"text": "ü\n\u2028", "none": None, "list": [1, 2.5]}):
        echo.send(message)
        assert echo.receive(20) == message
    echo.send({"text": "x" * (1 << 20)})
    assert len(echo.receive(20)["text"]) == 1 << 20


def test_what_a_child_said_before_it_died_is_still_received(start: Start) -> None:
    said = '{"n": 1}\n{"n": 2}\nhalf'
    child = start(f"import sys; sys.stdout.write({said!r}); sys.exit('first\\nwhy')")
    assert [child.receive(20)["n"] for _ in range(2)] == [1, 2]
    for _ in range(2):
        with pytest.raises(ChannelClosed, match=r"it ended with code 1 \(why\)"):
            child.receive(20)
    with pytest.raises(ChannelClosed, match="code 1"):
        child.send({"op": "hello"})
    assert child.exit_status == 1


def test_a_signal_that_ended_the_child_is_named(start: Start) -> None:
    child = start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ChannelClosed, match="ended by SIGKILL"):
        child.receive(20)
    real_time = start(f"import os; os.kill(os.getpid(), {signal.SIGRTMIN + 1})")
    with pytest.raises(ChannelClosed, match=f"ended by signal {signal.SIGRTMIN + 1}"):
        real_time.receive(20)


def test_stderr_is_kept_to_its_tail_and_need_not_be_text(start: Start) -> None:
    flood = "import os\nfor _ in range(2000): os.write(2, b'\\xff' * 1000)\n"
    child = start(f"{flood}os.write(2, b'the end\\n')")
    with pytest.raises(ChannelClosed):
        child.receive(20)
    assert child.stderr_tail().endswith("the end")
    assert len(child.stderr_tail()) <= channel.STDERR_TAIL


def test_output_that_nobody_received_is_kept_until_the_end(start: Start) -> None:
    child = start("import sys; print(len(sys.stdin.read(300_000)) * 'x')")
    child.write(b"x" * 300_000)
    assert child.wait(20) == 0
    assert child.output() == b"x" * 300_000 + b"\n"


def test_close_ends_a_child_by_closing_its_stdin(start: Start) -> None:
    echo = start(ECHO)
    echo.send({})
    echo.receive(20)
    for _ in range(2):
        echo.close()
    assert gone(echo.pid)
    with pytest.raises(ChannelClosed):
        echo.send({})
    assert not echo.post({})


# a child of this process


def test_half_a_line_waits_for_its_other_half_and_lines_come_one_by_one(local: Start) -> None:
    rest = 'time.sleep(0.1); print(\'1}\\n{"n": 2}\\n{"n": 3}\')'
    child = local(f"import sys, time; sys.stdout.write('{{\"a\": '); {rest}")
    assert [child.receive(20) for _ in range(3)] == [{"a": 1}, {"n": 2}, {"n": 3}]


def test_a_reply_that_does_not_come_is_a_timeout_and_may_come_later(local: Start) -> None:
    child = local("import sys; sys.stdin.readline(); print('{}'); sys.stdin.read()")
    begin = time.process_time()
    with pytest.raises(Timeout):
        child.receive(0.5)
    assert time.process_time() - begin < 0.1  # waiting takes no processor
    assert child.exit_status is None
    child.send({})
    assert child.receive(20) == {}


def test_the_deadline_holds_for_a_line_that_never_ends(local: Start) -> None:
    child = local("import time\nwhile True: print('x', end=''); time.sleep(0.01)")
    begin = time.monotonic()
    with pytest.raises(Timeout):
        child.receive(0.3)
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize("line", ["Segmentation fault", "1", "", '{"a": 1', "\x00\x7f"])
def test_what_is_not_a_json_object_closes_the_channel(local: Start, line: str) -> None:
    child = local(f"import time; print({line!r}); time.sleep(9)")
    with pytest.raises(ChannelClosed, match="something else than JSON lines"):
        child.receive(20)


@pytest.mark.parametrize(("part", "count"), [("[]", 3_000_000), ("[" * 900 + "]" * 900, 3000)])
def test_a_line_of_too_many_parts_is_not_parsed(local: Start, part: str, count: int) -> None:
    with pytest.raises(ChannelClosed, match="a line of more than 2000000 parts"):
        local(f"print('{{\"x\": [' + '{part},' * {count} + '1]}}')").receive(20)


def test_a_child_that_writes_without_end_fills_no_memory(
    local: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "MOST_BYTES", 1 << 20)
    with pytest.raises(ChannelClosed, match="it wrote 1 MB without an end of line"):
        local("while True: print('x' * 65536, end='')").receive(20)
    with pytest.raises(ChannelClosed, match="it wrote more than 1 MB that nobody took"):
        local("while True: print('x' * 65536)").wait(20)
    unread = local("import os\nwhile True: os.write(1, b'x' * 65536); os.write(2, b'x' * 65536)")
    time.sleep(0.2)
    assert unread.output() == b""


def test_a_child_that_takes_nothing_is_given_up(
    local: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "STALLED_S", 0.3)
    child = local("import time; time.sleep(9)")
    child.send({"bursts": [["spec:case", 100]] * 500})  # there is room for that
    assert child.post({"op": "ping"})
    with pytest.raises(ChannelClosed, match="it took nothing for 0 s"):
        child.write(bytes(10_000_000))
    assert not child.post({"op": "ping"})


def test_close_kills_a_child_that_does_not_care(
    local: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "GRACE_S", 0.2)
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('{}')"
    child = local(f"{ignore}\nwhile True: time.sleep(1)")
    child.receive(20)
    assert os.getsid(child.pid) == child.pid != os.getsid(0)  # Ctrl-C in the terminal is not its
    child.close()
    assert gone(child.pid)


def test_a_channel_that_another_thread_closes_ends(local: Start) -> None:
    child = local(ECHO)
    with ThreadPoolExecutor() as pool:
        received = pool.submit(child.receive, 20)
        time.sleep(0.1)
        child.close()
        assert isinstance(received.exception(20), ChannelClosed)


def test_a_child_that_only_closed_its_output_is_told_apart(
    local: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "GRACE_S", 0.1)
    child = local("import os, time; os.close(1); time.sleep(9)")
    with pytest.raises(ChannelClosed, match="closed its output"):
        child.receive(5)


def test_a_grandchild_that_holds_the_output_does_not_hide_its_end(local: Start) -> None:
    assert local("import subprocess; subprocess.Popen(['sleep', '9'])").wait(5) == 0
