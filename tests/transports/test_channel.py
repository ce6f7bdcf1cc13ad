import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from benchbox.transports import channel
from benchbox.transports.channel import ChannelClosed, ProcessChannel, Timeout

ECHO = "import sys\nfor line in sys.stdin: sys.stdout.write(line); sys.stdout.flush()"
Start = Callable[[str], ProcessChannel]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a function that runs Python code behind a channel."""
    started: list[ProcessChannel] = []

    def run(code: str) -> ProcessChannel:
        started.append(ProcessChannel([sys.executable, "-I", "-S", "-u", "-c", code]))
        return started[-1]

    yield run
    for each in started:
        each.kill()


def say(text: str, then: str = "") -> str:
    return f"import sys, time, os, signal\nsys.stdout.write({text!r})\n{then}"


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_message_comes_back(start: Start) -> None:
    echo = start(ECHO)
    for message in ({"op": "hello"}, {"text": "ü\n\u2028", "none": None, "list": [1, 2.5]}):
        echo.send(message)
        assert echo.receive(5) == message


def test_a_line_of_a_megabyte_goes_both_ways(start: Start) -> None:
    echo = start(ECHO)
    echo.send({"text": "x" * (1 << 20)})
    assert len(echo.receive(10)["text"]) == 1 << 20


def test_half_a_line_waits_for_its_other_half(start: Start) -> None:
    child = start(say('{"a": ', "time.sleep(0.1); print('1}')"))
    assert child.receive(5) == {"a": 1}


def test_lines_that_come_together_are_received_one_by_one(start: Start) -> None:
    child = start(say('{"n": 1}\n{"n": 2}\n{"n": 3}\n', "time.sleep(9)"))
    assert [child.receive(5)["n"] for _ in range(3)] == [1, 2, 3]


def test_what_a_child_said_before_it_died_is_still_received(start: Start) -> None:
    child = start(say('{"n": 1}\n{"n": 2}\nhalf', "sys.exit(3)"))
    assert [child.receive(5)["n"] for _ in range(2)] == [1, 2]
    with pytest.raises(ChannelClosed, match="ended with code 3"):
        child.receive(5)


def test_a_reply_that_does_not_come_is_a_timeout_and_may_come_later(start: Start) -> None:
    child = start("import sys; sys.stdin.readline(); print('{}')")
    with pytest.raises(Timeout):
        child.receive(0.05)
    child.send({})
    assert child.receive(5) == {}


def test_the_deadline_holds_for_a_line_that_never_ends(start: Start) -> None:
    child = start("import time\nwhile True: print('x', end=''); time.sleep(0.01)")
    begin = time.monotonic()
    with pytest.raises(Timeout):
        child.receive(0.3)
    assert time.monotonic() - begin < 5


def test_waiting_for_a_reply_takes_no_processor(start: Start) -> None:
    child = start("import time; time.sleep(9)")
    begin = time.process_time()
    with pytest.raises(Timeout):
        child.receive(0.5)
    assert time.process_time() - begin < 0.1


def test_a_signal_that_ended_the_child_is_named(start: Start) -> None:
    child = start("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(ChannelClosed, match="ended by SIGKILL"):
        child.receive(5)
    real_time = start(f"import os; os.kill(os.getpid(), {signal.SIGRTMIN + 1})")
    with pytest.raises(ChannelClosed, match=f"ended by signal {signal.SIGRTMIN + 1}"):
        real_time.receive(5)


def test_the_reason_has_the_exit_code_and_the_last_line_of_stderr(start: Start) -> None:
    child = start("import sys; sys.exit('first\\nno module named nothing')")
    with pytest.raises(ChannelClosed, match=r"ended with code 1 \(no module named nothing\)"):
        child.receive(5)


def test_stderr_is_kept_to_its_tail_and_need_not_be_text(start: Start) -> None:
    code = (
        "import os\nfor _ in range(1000): os.write(2, b'\\xff' * 1000)\nos.write(2, b'the end\\n')"
    )
    child = start(code)
    with pytest.raises(ChannelClosed):
        child.receive(10)
    assert child.stderr_tail().endswith("the end")
    assert len(child.stderr_tail()) <= channel.STDERR_TAIL


@pytest.mark.parametrize("line", ["Segmentation fault", "[1]", "1", "", '{"a": 1', "\x00\x7f"])
def test_what_is_not_a_json_object_closes_the_channel(start: Start, line: str) -> None:
    child = start(say(line + "\n", "time.sleep(9)"))
    with pytest.raises(ChannelClosed, match="something else than JSON lines"):
        child.receive(5)


def test_a_child_that_only_closed_its_output_is_told_apart(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "GRACE_S", 0.1)
    child = start("import os, time; os.close(1); time.sleep(9)")
    with pytest.raises(ChannelClosed, match="closed its output"):
        child.receive(5)


def test_sending_to_a_child_that_is_gone_says_how_it_ended(start: Start) -> None:
    child = start("import sys; sys.exit(7)")
    with pytest.raises(ChannelClosed):
        child.receive(5)
    with pytest.raises(ChannelClosed, match="code 7"):
        child.send({"op": "hello"})


def test_a_child_that_reads_nothing_does_not_stop_a_small_message(start: Start) -> None:
    child = start("import time; time.sleep(9)")
    child.send({"bursts": [["spec:case", 100]] * 500})
    with pytest.raises(Timeout):
        child.receive(0.01)


def test_close_ends_a_child_by_closing_its_stdin(start: Start) -> None:
    child = start(ECHO)
    child.send({})
    child.receive(5)
    child.close()
    assert gone(child.pid)
    child.close()
    with pytest.raises(ChannelClosed):
        child.send({})


def test_close_kills_a_child_that_does_not_care(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "GRACE_S", 0.2)
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    child = start(say("{}\n", f"{ignore}\nwhile True: time.sleep(1)"))
    child.receive(5)
    child.close()
    assert gone(child.pid)


def test_ctrl_c_in_the_terminal_does_not_reach_a_child(start: Start) -> None:
    child = start(say("{}\n", "time.sleep(9)"))
    child.receive(5)
    assert os.getsid(child.pid) == child.pid != os.getsid(0)


def test_a_child_has_the_environment_and_what_is_set_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GIVEN", "yes")
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    child = ProcessChannel([sys.executable, "-c", code], {"SET": json.dumps("too")})
    environ = child.receive(5)
    child.close()
    assert (environ["GIVEN"], environ["SET"]) == ("yes", '"too"')
