"""The claim: one small object that says which run may write below a target. Holding it is what makes two runs safe.

It lies at `<parent>/.stage/<name>/claim.json`. Making it is a put that fails where it exists (If-None-Match: *). Its holder
renews it every few seconds with a put that fails unless it is still the one last written (If-Match): the fence. A claim is
taken over, by such a conditional put too, when its holder ran on this machine and is gone, or when it has not been renewed
for `LEASE_S` by the server's own clock. A holder that could not renew for `GIVE_UP_S` stops by itself, well before that.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import uuid4

from converter.errors import Busy, OutputFailed, Unusable
from converter.objects.client import AlreadyThere, Client, Found
from converter.process import is_gone, this_process

LEASE_S = 120.0
GIVE_UP_S = 60.0
RENEW_S = 15.0
_ROUNDS = 5


class Lost(OutputFailed):
    """Another run took the claim over, or it could not be renewed in time: nothing may be written or removed any more."""


@dataclass(slots=True)
class Claim:
    """A claim that is held until `release`, or until `confirm` raises Lost. All coroutines run on the client's loop."""

    client: Client
    key: str
    run: str = field(default_factory=lambda: uuid4().hex[:16])
    began: bool = False
    """Told in the claim: nothing lay below the target, and this run, or one whose claim it took over, writes there."""
    inherited: bool = False
    """Whether a dead run had begun: what lies below the target without a root is its leftover, and nobody else's."""
    took_over: bool = False
    """Whether the claim was another run's, whose last requests may still be on their way."""
    _over: bool = False
    """Told in the claim: its run has ended, and what it sent may still arrive."""
    _etag: str = ""
    _beat: int = 0
    _renewed: float = 0.0
    _lost: str | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def folder(self) -> str:
        """Where this target's runs may keep things, the claim among them."""
        return self.key.rpartition("/")[0]

    async def acquire(self) -> None:
        """Raises Busy while another run holds it, OutputFailed where the object store fails or is no good."""
        for _ in range(_ROUNDS):
            try:
                self._hold(await self.client.create(self.key, self._content()))
                break
            except AlreadyThere:
                if await self._taken_over():
                    break
        else:
            raise Busy(f"{self.client.url}: other runs come and go there; try again")
        await self._require_conditions()

    async def _taken_over(self) -> bool:
        found = await self.client.get(self.key)
        if found is None:
            return False
        holder = _holder(found[0])
        if holder.get("run") == self.run:
            self._hold(found[1].etag)
            return True
        if not await self._abandoned(holder, found[1]):
            who = f"run {holder.get('run')} on {holder.get('host')} since {holder.get('since')}"
            raise Busy(f"{self.client.url}: is being written by {who}; if that is dead, try again in {LEASE_S:.0f} s")
        self.began = self.inherited = holder.get("began") is True
        try:
            self._hold(await self.client.change(self.key, self._content(), found[1].etag or ""))
        except AlreadyThere:
            return False
        self.took_over = True
        return True

    async def _abandoned(self, holder: dict[str, Any], found: Found) -> bool:
        if is_gone(holder) or holder.get("over") is True:
            return True
        # One of this machine that lives and does not renew is suspended: it gives up by itself when it wakes.
        probe = f"{self.folder}/{self.run}.now"  # its time of change is "now" by the clock that dated the claim
        await self.client.create(probe, b"")
        now = await self.client.get(probe)
        await self.client.delete([probe])
        return now is not None and (now[1].changed - found.changed).total_seconds() > LEASE_S

    async def _require_conditions(self) -> None:
        """A server that ignores conditions would let two runs win."""
        for put in (self.client.create, partial(self.client.change, etag='"00000000000000000000000000000000"')):
            try:
                await put(self.key, self._content())
            except AlreadyThere:
                continue
            raise Unusable(
                f"{self.client.url}: the object store ignores If-None-Match or If-Match: safe publishing needs them"
            )

    async def keep(self) -> None:
        """Renew for ever; for a task of its own."""
        while self._lost is None:
            await asyncio.sleep(RENEW_S)
            try:
                await self.confirm()
            except OutputFailed:
                self._check_age()

    async def confirm(self) -> None:
        """Renew now. Raises Lost, OutputFailed."""
        async with self._turn:
            self.check()
            asked = _clock()
            try:
                etag = await self.client.change(self.key, self._content(), self._etag)
            except AlreadyThere:
                etag = await self._mine_still()
            self._hold(etag, asked)

    async def _mine_still(self) -> str | None:
        """After a renewal that was refused: the claim's ETag, where an earlier try of ours had arrived all the same."""
        found = await self.client.get(self.key)
        if found is None or _holder(found[0]).get("run") != self.run:
            self._lost = "another run took it over"
            raise self._loss()
        return found[1].etag

    def check(self) -> None:
        """Raise Lost where the claim is lost, or was not renewed for too long; asks nobody."""
        self._check_age()
        if self._lost is not None:
            raise self._loss()

    def _loss(self) -> Lost:
        return Lost(f"{self.client.url}: the claim on it is lost ({self._lost}); nothing was published")

    def _check_age(self) -> None:
        if self._lost is None and _clock() - self._renewed > GIVE_UP_S:
            self._lost = f"it could not be renewed for {GIVE_UP_S:.0f} s"

    async def release(self) -> None:
        """Delete the claim, if it is still this run's. Renewed before, as a deletion knows no condition: nobody takes it
        over between the two."""
        async with self._turn:
            found = await self.client.get(self.key)
            if self._lost is None and found is not None and _holder(found[0]).get("run") == self.run:
                asked = _clock()
                with suppress(AlreadyThere):
                    self._hold(await self.client.change(self.key, self._content(), found[1].etag or ""), asked)
                    await self.client.delete([self.key])
            self._lost = self._lost or "it was released"

    async def leave(self) -> None:
        """Let the claim lie there for whoever comes next, at once: what this run sent may arrive after it was removed, and
        is known as a leftover only by a claim. Raises Lost, OutputFailed."""
        self._over = True
        await self.confirm()
        self._lost = "it was left"

    def _hold(self, etag: str | None, since: float | None = None) -> None:
        if etag is None:
            raise Unusable(f"{self.client.url}: the object store gives no ETags, which a claim needs")
        self._etag, self._renewed = etag, _clock() if since is None else since

    def _content(self) -> bytes:
        self._beat += 1  # so that no two contents, and no two ETags, are the same
        facts = {
            "run": self.run,
            "host": socket.gethostname(),
            **this_process(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "beat": self._beat,
            "began": self.began,
            "over": self._over,
        }
        return json.dumps(facts).encode()


def _holder(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _clock() -> float:
    """Seconds that go on while the machine sleeps, where the system has such a clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
