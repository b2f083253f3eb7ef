"""The Prefect server of one machine, in a process forked for it: as `prefect server start`, but lighter where idle.

Requests that name another host than this machine are refused: a page of the internet may have its name point to 127.0.0.1
(DNS rebinding), and whoever reaches the API runs code. So are those of pages of other sites.
"""

from __future__ import annotations

import os

from starlette.middleware.trustedhost import TrustedHostMiddleware

from flows.engine.origins import OwnPages
from flows.engine.resting import rest, run
from flows.engine.server import HOST
from flows.engine.sqlite import tame

HOSTS = (HOST, "localhost")
_KEEP_ALIVE_S = 5


def serve(port: int) -> None:
    """Serve at the port of loopback until told to stop."""
    from prefect.logging.configuration import setup_logging
    from prefect.server.api.server import create_app

    os.umask(0o077)  # its database names no slide, but runs, and errors that may
    setup_logging()
    tame()
    rest()
    app = create_app(final=True)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(HOSTS), www_redirect=False)
    app.add_middleware(OwnPages, hosts=HOSTS)
    run(app, host=HOST, port=port, timeout_keep_alive=_KEEP_ALIVE_S, log_level="warning")
