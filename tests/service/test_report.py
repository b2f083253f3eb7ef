"""What Prefect and those who are notified learn: progress, the end of a batch; and that no slide's name is among it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from flows.ledger.tables import State
from tests.service.conftest import NewService
from tests.service.harness import Installation, wait_for
from tests.service.postgres import free_port
from tests.service.toy import Toy, make_toy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
CANARY = "doe-jane-1970"
BLOCKS = """
from prefect_email import EmailServerCredentials
from prefect.blocks.notifications import CustomWebhookNotificationBlock
fields = {"subject": "{{subject}}", "body": "{{body}}"}
CustomWebhookNotificationBlock(name="ops", url=%r, json_data=fields, secrets={}).save("ops", overwrite=True)
EmailServerCredentials(smtp_server="127.0.0.1", smtp_port=%d, smtp_type="INSECURE").save("lab", overwrite=True)
EmailServerCredentials(smtp_server="127.0.0.1", smtp_port=1, smtp_type="INSECURE").save("gone", overwrite=True)
"""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A web server that hears notifications: its address, and what it heard."""
    heard: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", heard
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def mailbox() -> Iterator[tuple[int, Mailbox]]:
    """A mail server: its port, and the letters that came."""
    box = Mailbox([])
    server = Controller(box, "127.0.0.1", free_port())
    server.start()
    yield server.port, box
    server.stop()


class Mailbox(NamedTuple):
    """Keeps what comes."""

    letters: list[tuple[list[str], EmailMessage]]

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Called by the server for each letter."""
        assert isinstance(envelope.content, bytes)
        letter = BytesParser(EmailMessage, policy=policy.default).parsebytes(envelope.content)
        self.letters.append((list(envelope.rcpt_tos), letter))
        return "250 OK"


def asked(installation: Installation, what: str) -> list[dict[str, Any]]:
    """Everything of a kind that Prefect keeps, also of other tests' services, oldest first."""
    found: list[dict[str, Any]] = []
    url = f"{installation.api}/{what}/filter"
    while page := httpx.post(url, json={"offset": len(found), "limit": 200}, timeout=60).json():
        found += page
    return sorted(found, key=lambda one: one["created"])


def test_progress_batch_and_privacy(
    new_service: NewService,
    installation: Installation,
    hook: tuple[str, list[dict[str, Any]]],
    mailbox: tuple[int, Mailbox],
) -> None:
    (address, heard), (port, mail) = hook, mailbox
    environment = installation.environment()
    subprocess.run([sys.executable, "-c", BLOCKS % (address, port)], env=environment, check=True, capture_output=True)
    to = {"mail_to": ["lab@example.org", "night@example.org"], "mail_from": "slidemill@example.org"}
    told = ["email-server-credentials/gone", "no-such/block", "custom-webhook/ops", "email-server-credentials/lab"]
    service = new_service(top={"notify": told, **to}, limits={"small_bytes": 0})  # steps of small slides are no tasks
    folder = service.folder / "in"
    slow = make_toy(folder / f"{CANARY}-slow.toy", Toy(columns=48, seconds=0.35))
    bad = folder / f"{CANARY}-bad.svs"
    bad.write_bytes(b"II*\0 no slide at all")
    service.start_worker()
    row = service.wait_until(slow.name, State.DONE)

    def progress() -> list[float]:
        ours = [one for one in asked(installation, "artifacts") if one["key"] == f"slide-{row.id}"]
        return sorted({float(one["data"]) for one in ours if one["type"] == "progress"})

    assert progress()
    assert 0 <= progress()[-1] < 100
    wait_for("the end of the batch is told", lambda: heard, 180, service.story)
    tables = [one for one in asked(installation, "artifacts") if one["key"] == "slidemill-batch"]
    assert {line["slide"]: line["state"] for line in json.loads(tables[-1]["data"])} == {
        row.id: "done",
        service.wait_until(bad.name, State.QUARANTINED).id: "quarantined",
    }
    assert heard[0]["subject"] == "slidemill: 1 done, 1 quarantined"
    wait_for("the mail has come", lambda: mail.letters, 60, service.story)
    ((receivers, letter),) = mail.letters
    assert receivers == to["mail_to"]
    assert (letter["Subject"], letter["From"]) == (heard[0]["subject"], to["mail_from"])
    assert letter.get_content().split() == heard[0]["body"].split()
    kept = {what: asked(installation, what) for what in ("flow_runs", "task_runs", "artifacts", "logs")}
    assert all(kept.values())
    assert CANARY not in json.dumps([kept, heard]) + letter.as_string()
