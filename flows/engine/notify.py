"""A word to people through Prefect's blocks: those that notify (webhook, Slack, Teams, ...), and those of mail servers."""

from __future__ import annotations

import logging
import socket
from collections.abc import Generator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.core import Block
from prefect_email import EmailServerCredentials

from flows.settings import MAIL_BLOCK, Settings

log = logging.getLogger("slidemill.notify")

_PATIENCE_S = 30.0


def notify(settings: Settings, subject: str, body: str) -> None:
    """Tell everybody whom the settings name. One who cannot be told is logged: that must not stop the service."""
    for name in settings.notify:
        try:
            with _bounded():
                _tell(name, settings, subject, body)
        except Exception as error:  # noqa: BLE001 - of any library
            log.warning("notification %s could not be sent: %s", name, type(error).__name__)


def _tell(name: str, settings: Settings, subject: str, body: str) -> None:
    if name.startswith(MAIL_BLOCK):
        _mail(EmailServerCredentials.load(name.removeprefix(MAIL_BLOCK)), settings, subject, body)
        return
    other: Any = Block.load(name)
    if not isinstance(other, NotificationBlock):
        raise TypeError(f"{name} is no block that notifies")
    other.notify(body=body, subject=subject)  # pyright: ignore[reportUnusedCoroutine] - a plain call outside of a loop


def _mail(block: Any, settings: Settings, subject: str, body: str) -> None:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = settings.mail_from or block.username or f"slidemill@{socket.getfqdn()}"
    message["To"] = ", ".join(settings.mail_to)
    message.set_content(body)
    with block.get_server() as server:
        server.send_message(message)


@contextmanager
def _bounded() -> Generator[None]:
    """Connections made meanwhile give up in time: the block of a mail server has no setting for that."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
