"""Processes forked from the template: what they are given, how they end, and what happens where somebody goes away."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from flows.engine.forked import SOCKET, Entry, Forked, NoTemplate, Request, fork, is_listening, sockets

TEMPLATE = """
import sys
import flows.engine.template as template
from flows.engine.forked import Entry
template._IMPORTED = ()
template._ENTRIES[Entry.ENGINE] = lambda arguments: exec(arguments[0]) or 0
template.main(sys.argv[1])
"""
"""A template that imports nothing, and whose runs are programs."""
LASTING = "import time; time.sleep(60)"


@pytest.fixture
def template(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a template, and its process."""
    address = sockets(tmp_path)[SOCKET]
    process = subprocess.Popen([sys.executable, "-c", TEMPLATE, address])
    until(lambda: is_listening(address))
    with process:
        yield address, process
        process.kill()


def until(look: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not look():
        assert time.monotonic() < end
        time.sleep(0.01)


def started(address: str, program: str, output: int = 1, **environment: str) -> Forked:
    request = Request(Entry.ENGINE, [program], dict(os.environ) | environment, str(Path.cwd()))
    return fork(request, (0, output, output), address)


def is_over(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_what_a_process_is_given(template: tuple[str, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    program = "import os; print(os.getcwd(), os.environ['WORD'], os.getsid(0) == os.getpid())"
    with (tmp_path / "said").open("w") as output:
        request = Request(Entry.ENGINE, [program], dict(os.environ) | {"WORD": "é"}, str(tmp_path))
        assert fork(request, (0, output.fileno(), output.fileno()), template[0]).wait(30) == 0
    assert (tmp_path / "said").read_text().split() == [str(tmp_path), "é", "True"]


@pytest.mark.parametrize(("program", "code"), [("pass", 0), ("raise SystemExit(7)", 7), ("raise ValueError", 1)])
def test_how_it_ends(template: tuple[str, subprocess.Popen[bytes]], program: str, code: int) -> None:
    with Path(os.devnull).open("w") as output:
        process = started(template[0], program, output.fileno())
        assert process.wait(30) == code
    assert process.poll() == code


def test_ended_by_a_signal(template: tuple[str, subprocess.Popen[bytes]]) -> None:
    process = started(template[0], LASTING)
    assert process.poll() is None
    with pytest.raises(TimeoutError):
        process.wait(0.01)
    process.kill()
    assert process.wait(30) == -signal.SIGKILL


def test_it_does_not_outlive_who_asked(template: tuple[str, subprocess.Popen[bytes]]) -> None:
    process = started(template[0], "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    process.connection.close()
    until(lambda: is_over(process.pid))
    assert started(template[0], "pass").wait(30) == 0  # the template goes on


def test_it_is_told_when_the_template_ends(template: tuple[str, subprocess.Popen[bytes]]) -> None:
    process = started(template[0], LASTING)
    template[1].kill()
    assert process.wait(30) == -signal.SIGKILL
    until(lambda: is_over(process.pid))
    with pytest.raises(NoTemplate):
        started(template[0], "pass")


def test_other_settings_of_prefect_are_refused(template: tuple[str, subprocess.Popen[bytes]]) -> None:
    with pytest.raises(NoTemplate, match="settings"):
        started(template[0], "pass", PREFECT_API_URL="http://elsewhere/api")
    assert started(template[0], "pass", PREFECT__FLOW_RUN_ID="any").wait(30) == 0


@pytest.mark.parametrize("data", [b"", b"x", b"12\n".rjust(64), b"no number".ljust(64), b"2".ljust(63) + b"\n{}"])
def test_what_is_no_request_does_no_harm(template: tuple[str, subprocess.Popen[bytes]], data: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(template[0])
        connection.sendall(data)
    assert started(template[0], "pass").wait(30) == 0


def test_many_at_a_time(template: tuple[str, subprocess.Popen[bytes]]) -> None:
    processes = [started(template[0], f"raise SystemExit({number})") for number in range(20)]
    assert [process.wait(60) for process in processes] == list(range(20))


class TestStart:
    """`python -m flows.engine.start`, which a worker starts for each run."""

    @staticmethod
    def begin(address: str, program: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flows.engine.start", program]
        return subprocess.Popen(command, env=os.environ | {SOCKET: address}, stdout=subprocess.PIPE)

    def test_ends_as_the_run_ends(self, template: tuple[str, subprocess.Popen[bytes]]) -> None:
        run = self.begin(template[0], "print('said'); raise SystemExit(3)")
        assert run.communicate(timeout=60)[0] == b"said\n"
        assert run.returncode == 3

    def test_what_it_is_told_it_passes_on(self, template: tuple[str, subprocess.Popen[bytes]]) -> None:
        program = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(5)); "
        program += "print('ready', flush=True); time.sleep(60)"
        run = self.begin(template[0], program)
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        run.terminate()
        with run:
            assert run.wait(60) == 5

    def test_a_run_that_is_killed(self, template: tuple[str, subprocess.Popen[bytes]]) -> None:
        with self.begin(template[0], "import os, signal; os.kill(os.getpid(), signal.SIGKILL)") as run:
            assert run.wait(60) == -signal.SIGKILL

    def test_a_start_that_is_killed_takes_its_run_along(self, template: tuple[str, subprocess.Popen[bytes]]) -> None:
        run = self.begin(template[0], "import os, time; print(os.getpid(), flush=True); time.sleep(60)")
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        run.kill()
        with run:
            run.wait()
        until(lambda: is_over(pid))

    def test_without_a_template_it_is_prefects_engine(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "flows.engine.start", "no-id"]
        environment = os.environ | {SOCKET: str(tmp_path / "none")}
        run = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=120)
        assert run.returncode == 1
        assert b"Invalid flow run id" in run.stdout + run.stderr


def test_sockets_of_a_state_folder_with_a_long_name(tmp_path: Path) -> None:
    short, long = sockets(tmp_path / "state"), sockets(tmp_path / ("x" * 120))
    assert short[SOCKET] == str(tmp_path / "state" / "run" / "template")
    assert len(long[SOCKET]) < 100
    folder = Path(long[SOCKET]).parent
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.rmdir()
