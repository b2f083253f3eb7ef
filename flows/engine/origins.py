"""Pages of other sites may not ask the server of this machine, whatever their requests look like.

A page that somebody has open in a browser can send requests to 127.0.0.1, which name the right host. One without a content
type is sent without asking first (the Fetch standard: "no-cors"), and Prefect reads its body as JSON. A browser says with
each of them from where the page is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class OwnPages:
    """Answers requests of programs, which name no origin, and of the server's own pages; all others get 403."""

    app: ASGIApp
    hosts: Collection[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, of whatever kind."""
        if scope["type"] == "lifespan" or self._is_own(scope):
            await self.app(scope, receive, send)
        else:
            await PlainTextResponse("a page of another site may not ask this server", 403)(scope, receive, send)

    def _is_own(self, scope: Scope) -> bool:
        origins = [value for name, value in scope["headers"] if name == b"origin"]
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        if not origins:
            return True
        if len(origins) > 1 or len(hosts) != 1:
            return False
        try:
            origin, host = urlsplit(origins[0].decode()), urlsplit(f"//{hosts[0].decode()}")
            # The port of `host`, which a tunnel may have changed; another port of this machine is another site.
            return origin.hostname in self.hosts and _port(origin.port, origin.scheme) == _port(host.port, origin.scheme)
        except ValueError:
            return False


def _port(stated: int | None, scheme: str) -> int | None:
    return stated or {"http": 80, "https": 443}.get(scheme)
