"""Who is known to be gone: never a process of another machine, of another space of process ids, or of a clone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from converter import process as processes
from converter.process import is_gone, lives_here, machine, same_process, this_process
from converter.publishing.stage import OWNER, STAGES, collect, open_stage

ROOT = Path(__file__).resolve().parents[2]
LIVE_RUN = """
import pathlib, sys
from converter.publishing.stage import open_stage
stage = open_stage(pathlib.Path(sys.argv[1]))
stage.write("a/b", [b"x"])
print("open", flush=True)
sys.stdin.read()
stage.write("a/c", [b"x"])
stage.sync()
"""
DEAD = {"pid": 2**22 + 1, "started": "1"}  # above Linux' highest process id


def _elsewhere(field: int, value: str) -> str:
    parts = machine().split("/")
    parts[field] = value
    return "/".join(parts)


CASES = {
    "this process": ({}, False),
    "its id was given to another process": ({"started": "1"}, True),
    "when it started could not be read": ({"started": None}, False),
    "no such process": (DEAD, True),
    "a clone: same host name, another boot": (DEAD | {"machine": _elsewhere(1, "0" * 36)}, False),
    "a container: same host name and boot, another namespace": (DEAD | {"machine": _elsewhere(2, "1")}, False),
    "another host": (DEAD | {"machine": _elsewhere(0, "elsewhere")}, False),
    "written down by an older version": ({"machine": None, "host": "here"} | DEAD, False),
    "nonsense": ({"pid": "one"}, False),
    "nobody": ({"pid": -1}, False),
}


@pytest.mark.parametrize("case", CASES)
def test_who_is_gone(case: str, tmp_path: Path) -> None:
    changed, gone = CASES[case]
    facts: dict[str, Any] = this_process() | changed
    assert is_gone(facts) is gone
    assert lives_here(facts) is (changed == {})
    stage = open_stage(tmp_path / "x.zarr")
    (stage.folder / OWNER).write_text(json.dumps(facts))
    assert collect(tmp_path / STAGES) == ([stage.folder] if gone else [])
    assert stage.folder.exists() is not gone


@pytest.mark.parametrize("missing", ["_BOOT", "/proc"])
def test_where_the_machine_cannot_be_told_nobody_is_gone(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing == "_BOOT":
        monkeypatch.setattr(processes, "_BOOT", Path("/nowhere"))
    else:  # as after `unshare --pid` without a /proc of its own
        monkeypatch.setattr(Path, "readlink", lambda _: Path("99999"))
    assert not is_gone(this_process() | DEAD)
    assert not lives_here(this_process())


def test_one_process_is_the_same_by_all_its_facts() -> None:
    assert same_process(this_process(), this_process())
    for name, value in (("machine", "elsewhere"), ("pid", 1), ("started", "1")):
        assert not same_process(this_process(), this_process() | {name: value})
    assert not same_process({}, {})


def test_a_process_that_hides_from_us_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """/proc mounted with hidepid shows no processes of other users; signals tell that they are there."""
    monkeypatch.setattr(processes, "_start", lambda _: None)
    assert not is_gone(this_process() | {"started": "1"})


def test_a_clone_is_told_by_its_name_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that were started from one memory image have one boot."""
    facts = this_process() | DEAD
    assert is_gone(facts)
    monkeypatch.setattr("socket.gethostname", lambda: "clone-2")
    assert not is_gone(facts)


SPACES = {
    "own /proc": ["unshare", "--pid", "--fork", "--mount-proc"],
    "our /proc": ["unshare", "--pid", "--fork"],
    "own time": ["unshare", "--time", "--boottime", "1000", "--fork"],
    "own host name": ["unshare", "--uts", "sh", "-c", 'hostname other-name && exec "$@"', "sh"],
}


@pytest.mark.parametrize("words", SPACES.values(), ids=list(SPACES))
def test_a_live_run_in_another_space_keeps_its_stage(words: list[str], tmp_path: Path) -> None:
    if os.getuid() != 0 or subprocess.run([*words, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no namespaces can be made here")
    command = [*words, sys.executable, "-c", LIVE_RUN, str(tmp_path / "x.zarr")]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "open\n"
        assert collect(tmp_path / STAGES) == []
        run.communicate("")
    assert run.returncode == 0
