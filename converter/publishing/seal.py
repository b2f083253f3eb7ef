"""The seal: what a run puts where the root of its store goes, before it asks for the last time whether its claim holds.

The root is then put only in the seal's place (If-Match). Who takes the claim over puts a seal of its own in the place of what
it finds, or removes it: from then on the root of the earlier run finds no place, however late it comes. A seal is no Zarr
metadata: what lies below it is not found as a store.
"""

from __future__ import annotations

import json

from converter.objects.client import AlreadyThere, Client
from converter.publishing.claim import Claim
from drivers.zarrstore.files import joined

_KEY = "slidemill-seal"
_ROUNDS = 5
LONGEST = 200
"""Bytes; nothing longer is a seal."""


def seal(run: str) -> bytes:
    """The seal of a run; no two have the same bytes, nor the same ETag."""
    return json.dumps({_KEY: run}).encode()


def is_seal(data: bytes) -> bool:
    """Whether an object is a seal."""
    return len(data) <= LONGEST and data.startswith(b'{"' + _KEY.encode())


async def sealed(claim: Claim, key: str) -> str | None:
    """Put this run's seal; its ETag. None where a root is there, or others come and go."""
    client, ours = claim.client, seal(claim.run)
    for _ in range(_ROUNDS):
        try:
            return await client.create(key, ours)
        except AlreadyThere:
            found = await client.get(key)
        if found is None:
            continue
        if found[0] == ours:
            return found[1].etag
        if not is_seal(found[0]):
            return None
        await claim.confirm()
        etag = await _replaced(client, key, ours, found[1].etag)
        if etag is not None:
            return etag
    return None


async def _replaced(client: Client, key: str, data: bytes, etag: str | None) -> str | None:
    try:
        return await client.change(key, data, etag or "")
    except AlreadyThere:
        return None


async def broken(claim: Claim, folder: str, names: list[str]) -> list[str]:
    """Make seals of earlier runs worthless and remove them. Returns those of `names` that were seals or are gone.

    What is none, or became a root just now, stays.
    """
    client, found = claim.client, list[str]()
    for name in names:
        key = joined(folder, name)
        there = await client.get(key)
        if there is not None and is_seal(there[0]):
            if await sealed(claim, key) is None:
                continue
            await client.delete([key])
        elif there is not None:
            continue
        found.append(name)
    return found
