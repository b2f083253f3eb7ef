"""Which Prefect server this process talks to. Where none is named, Prefect starts one of its own for a moment."""

from __future__ import annotations

from prefect.settings import PREFECT_API_URL

from converter.errors import OptionError


def require_server(doing: str) -> None:
    """Raises OptionError where neither the environment nor a profile of Prefect's names a server."""
    if not PREFECT_API_URL.value():
        raise OptionError(
            f"{doing}: no Prefect server is named; set PREFECT_API_URL (http://HOST:4200/api), or run `slidemill up`"
        )
