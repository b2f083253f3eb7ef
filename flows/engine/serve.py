"""The Prefect server of one machine, in a process forked for it: as `prefect server start`, but lighter where idle.

Requests that name another host than this machine are refused: a page of the internet may have its name point to 127.0.0.1
(DNS rebinding), and whoever reaches the API runs code.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import partial

import uvicorn
from docket import Worker
from starlette.middleware.trustedhost import TrustedHostMiddleware

from flows.engine.server import HOST
from flows.engine.sqlite import tame

HOSTS = (HOST, "localhost")
_KEEP_ALIVE_S = 5
_LOOK = timedelta(seconds=1)
"""How often the server's own background work is looked for. Prefect has 250 ms: 4 % of a core with its Redis in memory."""

log = logging.getLogger("slidemill.serve")


def serve(port: int) -> None:
    """Serve at the port of loopback until told to stop."""
    import prefect.server.api.background_workers as background
    from prefect.logging.configuration import setup_logging
    from prefect.server.api.server import create_app

    setup_logging()
    tame()
    if getattr(background, "Worker", None) is Worker:
        background.Worker = partial(Worker, minimum_check_interval=_LOOK, scheduling_resolution=_LOOK)  # pyright: ignore[reportPrivateImportUsage]
    else:
        log.warning("the Prefect server looks for background work as often as it likes: this version has another shape")
    app = create_app(final=True)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False)
    uvicorn.run(app, host=HOST, port=port, timeout_keep_alive=_KEEP_ALIVE_S, log_level="warning")
