"""Seeing to it that scan and reconcile are under way: their runs last an hour, and one that was killed must not be missed."""

from __future__ import annotations

import asyncio
import logging
import time

from sqlalchemy import Engine

from flows.engine.dispatcher import PrefectDispatcher
from flows.engine.names import RECONCILE, SCAN
from flows.ledger.database import connect, is_away
from flows.service.dispatch import EngineUnavailable
from flows.service.turns import is_vacant
from flows.settings import Settings, load_settings

_FIRST_S = 30.0
_EVERY_S = 10.0
_ONE_S = 60.0
"""A run that was asked for has this long to begin, before another one is asked for."""

log = logging.getLogger("slidemill.keeper")


async def keep() -> None:
    """Begin a run of a job that nobody does, for as long as this process lives."""
    settings = load_settings(None)
    engine = connect(settings.ledger_url)
    await asyncio.sleep(_FIRST_S)  # those that were asked for at the start come first
    while True:
        await asyncio.to_thread(look, engine, settings)
        await asyncio.sleep(_EVERY_S)


def look(engine: Engine, settings: Settings) -> list[str]:
    """Ask for a run of each job that nobody does. Returns which."""
    begun: list[str] = []
    limits = settings.limits
    for job, every in ((SCAN, settings.schedule.scan_seconds), (RECONCILE, settings.schedule.reconcile_seconds)):
        try:
            if is_vacant(engine, job, max(limits.lease_seconds, 3 * every)):
                PrefectDispatcher().begin(job, f"{job}:{int(time.time() // _ONE_S)}")
                log.info("nobody does %s: a run of it was asked for", job)
                begun.append(job)
        except EngineUnavailable as error:
            log.debug("%s", error)
        except Exception as error:
            if not is_away(error):
                raise
            log.debug("the ledger is away: %s", type(error).__name__)
    return begun
