"""Settings of the service: what is wrong is said in one line, with its place; variables win over the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from converter.errors import OptionError
from flows.commands.quickstart import findings, quick_settings
from flows.settings import faults, load_settings

FOLDER = '[[folders]]\nname = "a"\npath = "{0}/in"\noutput = "{0}/out"\n'


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of the test."""
    monkeypatch.delenv("SLIDEMILL_CONFIG", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.chdir(tmp_path)


SHARES = "[[shares]]\npath = '/nas'\nmb_per_second = 5\n[[shares]]\n"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "x.toml"
    path.write_text(text.format(tmp_path))
    return path


def test_defaults(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, FOLDER))
    assert settings.folders[0].quiet_seconds == 60
    assert settings.folders[0].bound().resume
    assert settings.ledger_url.endswith("/slidemill/ledger.db")


def test_found_here_or_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(None).folders == ()
    (tmp_path / "slidemill.toml").write_text(FOLDER.format(tmp_path))
    assert load_settings(None).folders[0].name == "a"
    other = written(tmp_path, FOLDER.replace('"a"', '"b"'))
    monkeypatch.setenv("SLIDEMILL_CONFIG", str(other))
    assert load_settings(None).folders[0].name == "b"


def test_variables_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, "[limits]\nattempts = 2\n")
    assert load_settings(path).limits.attempts == 2
    monkeypatch.setenv("SLIDEMILL_LIMITS__ATTEMPTS", "7")
    assert load_settings(path).limits.attempts == 7


def test_the_password_is_not_shown(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, 'ledger = "postgresql+psycopg://u:secret@h/d"\n'))
    assert "secret" not in repr(settings)
    assert "secret" in settings.ledger_url


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("folders = 3\n", "folders: is 3, a list in [brackets]"),
        ("limits = 3\n", "limits"),
        ("password = 12345678\n", "password: is '...', a text in quotes"),
        ('password = "geheim-mit-ß"\n', "password: has characters other than"),
        ('password = "short"\n', "password: is too short, at least 8 characters"),
        ('[limits]\nattempts = "many"\n', "[limits] attempts: is 'many', a whole number"),
        (FOLDER + 'hours = "8-17"\n', "[[folders]] 1 hours: '8-17': write 20:00-06:00"),
        ("nonsense = 1\n", "nonsense"),
        ("[[folders\n", "x.toml"),
        ('notify = ["slack"]\n', "notify 1: 'slack' does not have the form"),
        ('notify = ["email-server-credentials/lab"]\n', "mail_to"),
        ('mail_to = ["lab@example.org"]\n', "email-server-credentials"),
        ('notify = ["email-server-credentials/lab"]\nmail_to = ["lab"]\n', "mail_to 1: 'lab' does"),
        (FOLDER + "quiet_seconds = -1\n", "[[folders]] 1 quiet_seconds: is -1, at least 0"),
        (FOLDER + 'profile = "none-such"\n', "none-such"),
        (FOLDER + "[folders.options]\nchunk = 100\n", "power of two"),
        (FOLDER + 'original = "delete"\n', "[[folders]] 1 original: is 'delete'; choose 'keep' or 'move'"),
        (FOLDER + 'original = "move"\n', "move_to"),
        (FOLDER.replace("{0}/in", "in"), "not absolute"),
        (FOLDER + FOLDER, "used twice"),
        (FOLDER + FOLDER.replace('"a"', '"b"').replace("/in", "/in/deeper"), "found twice"),
        ("[limits]\nlease_seconds = 5\n", "heartbeat_seconds"),
        ("[[shares]]\npath = 'nas'\nmb_per_second = 5\n", "[[shares]] 1 path: nas is neither absolute"),
        ("[[shares]]\npath = '/nas'\nmb_per_second = 0\n", "[[shares]] 1 mb_per_second: is 0, at least 0.01"),
        ("[[shares]]\npath = '/nas'\nmb_per_second = nan\n", "[[shares]] 1 mb_per_second"),
        (SHARES + "path = ['/else', '/nas/deeper']\nmb_per_second = 9\n", "/nas/deeper lies in another one"),
        ("[limits]\nwindow = 500\n", "[limits] window: is 500, at most 199"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(OptionError, match=re.escape(said)) as error:
        load_settings(written(tmp_path, text))
    assert "\n" not in str(error.value)
    assert len(faults(tmp_path / "x.toml")) == 1


def test_a_fault_of_a_folder_hides_no_other(tmp_path: Path) -> None:
    """Each is said with the name of its setting, in one call."""
    text = """
    [[folders]]
    name = "Bad Name"
    path = "in"
    output = "out"
    hours = "25:00-06:00"
    profile = "none-such"
    original = "move"
    [[folders]]
    name = "b"
    path = "/b"
    output = "/o"
    priority = "x"
    [folders.options]
    chunk = 100
    """
    names = [line.partition(":")[0] for line in faults(written(tmp_path, text))]
    first = [f"[[folders]] 1 {word}" for word in ("name", "path", "output", "profile", "hours", "move_to")]
    assert sorted(names) == sorted([*first, "[[folders]] 2 priority", "[[folders]] 2 options"])


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SLIDEMILL_FOLDERS", "[{", "SLIDEMILL_FOLDERS: is no JSON"),
        ("SLIDEMILL_LIMITS_ATTEMPTS", "5", "two underscores: SLIDEMILL_LIMITS__ATTEMPTS"),
        ("SLIDEMILL_LIMITS__ATTEMPTS", "x", "[limits] attempts: is 'x', a whole number"),
    ],
)
def test_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    (found,) = faults(written(tmp_path, ""))
    assert said in found


def test_all_faults_at_once(tmp_path: Path) -> None:
    text = FOLDER + 'original = "delete"\npriority = 5000\n[limits]\nattempts = 99\n'
    assert faults(written(tmp_path, text)) == [
        "[[folders]] 1 priority: is 5000, at most 1000 is possible",
        "[[folders]] 1 original: is 'delete'; choose 'keep' or 'move'",
        "[limits] attempts: is 99, at most 20 is possible",
    ]
    assert faults(written(tmp_path, FOLDER)) == []


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no such file"):
        load_settings(tmp_path / "none.toml")


def test_findings_on_this_machine(tmp_path: Path) -> None:
    settings = load_settings(written(tmp_path, FOLDER))
    assert findings(settings) == [f"folders.a.path: {tmp_path}/in is no folder"]
    (tmp_path / "in").mkdir()
    assert findings(settings) == []
    (tmp_path / "out").write_text("a file")
    assert findings(settings) == [f"folders.a.output: {tmp_path}/out is no folder that can be written"]


def test_watch_writes_settings_that_load(tmp_path: Path) -> None:
    folders = [tmp_path / "Scanner 1", tmp_path / "x" / "Scanner 1"]
    for folder in folders:
        folder.mkdir(parents=True)
    made = quick_settings(folders, "out", tmp_path / "state", 5, "omero")
    assert not made.path.exists(), "a service that runs would read it"
    made.path.parent.mkdir()
    made.write()
    settings = load_settings(made.path)
    assert settings == made.settings
    assert [folder.name for folder in settings.folders] == ["scanner-1", "scanner-1-2"]
    assert settings.folders[1].output == f"{tmp_path}/out/scanner-1-2"
    assert settings.folders[0].bound().ome_zarr == "0.4"
    assert settings.state == tmp_path / "state"


@pytest.mark.parametrize(
    ("folders", "out", "state", "said"),
    [
        (["none"], "out", "state", "no folder"),
        (["in", "x/../in"], "out", "state", "named twice"),
        (["in"], "in", "state", "is itself watched"),
        (["in"], "x/../in/", "state", "is itself watched"),
        (["in"], "link", "state", "is itself watched"),
        (["in"], "out", "file", "is a file"),
    ],
)
def test_what_cannot_be_watched(tmp_path: Path, folders: list[str], out: str, state: str, said: str) -> None:
    for name in ("in", "x"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match=said):
        quick_settings([tmp_path / name for name in folders], str(tmp_path / out), tmp_path / state, 5, None)
