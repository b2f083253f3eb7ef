"""Runs of this service are not watched for suspensions.

Prefect watches each run by a thread that wakes five times a second and holds a connection of its own to the server, which the
run waits for before it begins: 0.2 s a slide. Nothing is lost: who wants slides to wait says so by `slidemill pause`.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager

import prefect.flow_engine

log = logging.getLogger("slidemill.suspension")


def unobserved() -> None:
    """Watch no run of this process."""
    if hasattr(prefect.flow_engine, "observe_flow_run_suspension"):
        prefect.flow_engine.observe_flow_run_suspension = _unobserved  # pyright: ignore[reportPrivateImportUsage]
    else:
        log.warning("Prefect's engine has another shape in this version: runs are watched as often as it likes")


@contextmanager
def _unobserved(*_: object) -> Generator[None]:
    yield
