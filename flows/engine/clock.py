"""What time it is by Prefect's server: it stamps states and plans runs, and no other machine's clock need agree with it."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from prefect.client.orchestration import SyncPrefectClient


def server_time(client: SyncPrefectClient) -> datetime:
    """UTC, to the second, from the Date header of an answer (RFC 9110, 6.6.1).

    This machine's clock where a proxy left the header out. Raises what the client raises.
    """
    try:
        found = parsedate_to_datetime(client.hello().headers["date"])
    except (KeyError, ValueError):
        return datetime.now(UTC)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
