"""A PostgreSQL of our own: the machine's binaries, a cluster in a temporary folder, a free port, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

_USERS = ("postgres", "nobody")
MISSING = "no PostgreSQL server binaries here; on Debian or Ubuntu `scripts/install-debian.sh` installs them"


def binaries() -> Path | None:
    """The folder of initdb and pg_ctl: the newest of Debian's, or that of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    named = shutil.which("initdb")
    return None if named is None else Path(named).resolve().parent


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Postgres:
    """A cluster. `start` and `stop` may be called again and again; the data stay until `remove`."""

    bin: Path
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="slidemill-postgres-")))
    port: int = field(default_factory=free_port)
    _server: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def make(self) -> None:
        """Make the cluster."""
        user = _user()
        if user is not None:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        options = ["-U", "slidemill", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(self._command("initdb", *options), check=False, capture_output=True, cwd="/")
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        """Start it and wait until it answers."""
        # No syncs to the disk: what is killed here is the server, never the machine.
        options = ["-p", str(self.port), "-k", str(self.folder), "-F"]
        more = ["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                self._command("postgres", *options, *more),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
            )
        end = time.monotonic() + 60
        while not self._answers():
            assert self._server.poll() is None, self._log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < end, "PostgreSQL does not come up"
            time.sleep(0.1)

    def stop(self) -> None:
        """End it at once, as a crash does (`pg_ctl stop -m immediate`)."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(60)
            self._server = None

    def remove(self) -> None:
        """Stop it; remove everything."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def create_database(self, name: str) -> None:
        """Make an empty database."""
        with self._connection() as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())

    def url(self, driver: str, database: str) -> str:
        """SQLAlchemy's URL of a database."""
        return f"postgresql+{driver}://slidemill@127.0.0.1:{self.port}/{database}"

    @property
    def _log(self) -> Path:
        return self.folder / "log"

    def _connection(self) -> psycopg.Connection[Any]:
        place = f"host=127.0.0.1 port={self.port} user=slidemill dbname=postgres connect_timeout=5"
        return psycopg.connect(place, autocommit=True)

    def _answers(self) -> bool:
        try:
            self._connection().close()
        except psycopg.OperationalError:
            return False
        return True

    def _command(self, program: str, *arguments: str) -> Sequence[str]:
        user = _user()
        # It ends with the tests, however those end.
        who = [] if user is None else [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        return [
            "setpriv",
            "--pdeathsig",
            "QUIT",
            *who,
            "--",
            str(self.bin / program),
            "-D",
            str(self.folder / "data"),
            *arguments,
        ]


def _user() -> pwd.struct_passwd | None:
    """Somebody else to run as, where we are root: PostgreSQL refuses to."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in _USERS if name in known)
