"""The stage in an object store: objects go up below the target's own prefix as they are made, with no local copy.

Nothing is visible before the root's metadata is there: it waits in memory until the manifest, every name, size and ETag of
the listing, and the checks of the store have held. Every put is conditional: an object that is there already is left when
it has the same bytes, and is put again only under the claim. A replacement goes up beside the old store and is verified
there; only then the old root is removed, and the new objects are copied by the server.

Should this run be suspended for so long that another takes its claim over, its root finds no place (see `seal`). Who took a
claim over looks at everything once more when its own root is there: what was on its way then may come late.
"""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import batched
from pathlib import Path
from typing import Any

from converter.errors import ConverterError, OutputFailed, Refused, Unreachable
from converter.manifest import Entry
from converter.objects.client import AlreadyThere, Client, Found, key_of
from converter.objects.reading import WithRoot
from converter.publishing.claim import Claim, Lost
from converter.publishing.publish import exists_error
from converter.publishing.seal import broken, is_seal, sealed
from converter.publishing.stage import STAGES
from converter.publishing.uploads import Uploads
from drivers.location import Url
from drivers.zarrstore.files import joined

_ROUNDS = 3
_CLEAN_S = 30.0
_RELEASE_S = 5.0
PUBLISH_S = 50.0
"""How long the last step may take: somewhat less than a claim lasts that cannot be renewed."""
_COPIES, _DELETIONS = 64, 1000
OPENING = ("zarr.json", ".zattrs")
ROOTS = (*OPENING, ".zgroup")
"""Files that make a prefix a store. Removed in this order, put in the reverse: without the first two no image is found."""


@dataclass(slots=True)
class ObjectStage:
    """A store in the making. `write` may be called from any thread; discard it in any case."""

    client: Client
    target: Url
    claim: Claim
    stopped: Callable[[], bool]
    base: str
    """Key below which objects are written: the target's, or for a replacement one beside it."""
    seen: Mapping[str, Found] = field(default_factory=dict[str, Found])
    """The store that lay there when the conversion began: nothing else is removed for it."""
    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))
    entries: list[Entry] = field(default_factory=list[Entry])
    bytes_written: int = 0
    held: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _root: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _put: dict[str, tuple[Entry, str | None]] = field(default_factory=dict[str, tuple[Entry, str | None]])
    """Entry and ETag of what is up, by path."""
    _sent: set[str] = field(default_factory=set[str])
    """Paths of what was ever sent, whether it arrived or not."""
    _published: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _uploads: Uploads = field(init=False)

    def __post_init__(self) -> None:
        self._uploads = Uploads(self.client, self.claim.check, self.stopped)

    @property
    def run(self) -> str:
        """Told in the store: whose root it is."""
        return self.claim.run

    @property
    def store(self) -> Url:
        """Where the objects lie now."""
        return Url(f"{self.target.text.removesuffix(key_of(self.target))}{self.base}")

    @property
    def files(self) -> WithRoot:
        """What is up, and the root that is not."""
        return WithRoot(self.store, self._root, self.target.name)

    def write(self, path: str, parts: Sequence[bytes], *, listed: bool = True, early: bool = True) -> Entry:
        """Put a new object of the store, some time soon; waits while too many are on their way.

        Raises OutputFailed, for an earlier object too; the stage is then good for nothing but throwing away.
        """
        del early  # everything is on its way at once
        data = b"".join(parts)
        entry = Entry(path, len(data), hashlib.sha256(data).hexdigest())
        with self._lock:
            self._sent.add(path)  # before it is on its way: whoever cleans up meanwhile removes it
        self._uploads.send(len(data), lambda: self._upload(entry, data))
        with self._lock:
            self.bytes_written += len(data)
            if listed:
                self.entries.append(entry)
        return entry

    def write_root(self, name: str, data: bytes) -> None:
        """Metadata of the root: held until the store is published."""
        self._root[name] = data
        self.bytes_written += len(data)

    def sync(self) -> None:
        """Everything written so far is in the object store when this returns, by the server's own listing, and nothing
        else is. Raises OutputFailed."""
        self._uploads.land()
        self.client.wait(self._settled())

    @property
    def fenced(self) -> bool:
        """True: the claim and the seal are the fence."""
        return True

    @property
    def swaps(self) -> bool:
        """Whether an old store has to go before this one is there, which `swap` does."""
        return self.base != key_of(self.target)

    def swap(self) -> None:
        """Remove the old store, its root first; copy the new one, whole and verified, into its place. Takes its time.

        Raises OutputFailed.
        """
        self.client.wait(self._swap(key_of(self.target)))

    def publish(self) -> None:
        """Put the root, after everything else that `sync` found to be there: a few requests.

        Raises Refused when another root is there, OutputFailed.
        """
        try:
            self.client.wait(self._publish(), PUBLISH_S)
        except TimeoutError:
            raise Unreachable(
                f"{self.target}: the object store is too slow to publish there now; nothing was published; try again"
            ) from None

    def settle(self) -> list[str]:
        """After publishing: look for what earlier runs put late. Raises OutputFailed; then nothing is published."""
        if self.claim.took_over:
            self._published = False
            self.client.wait(self._look_again())
            self._published = True
        return []

    def discard(self) -> None:
        """Give the claim back; remove everything this run wrote unless it is published. Never raises for a dead server."""
        try:
            with suppress(ConverterError, TimeoutError, CancelledError):
                self.client.wait(self._clean(), _CLEAN_S)
        finally:
            self.client.close()

    # -- uploads --

    async def _upload(self, entry: Entry, data: bytes) -> None:
        self.claim.check()
        self._put[entry.path] = entry, await self._created(joined(self.base, entry.path), data)

    async def _created(self, key: str, data: bytes) -> str | None:
        """Put an object, or find that it is there with these bytes: put by an earlier try of ours, or by a dead run."""
        for _ in range(_ROUNDS):
            try:
                return await self.client.create(key, data)
            except AlreadyThere:
                found = await self.client.get(key)
            if found is not None and found[0] == data:
                return found[1].etag
            if found is not None:
                await self.claim.confirm()
                await self.client.delete([key])
        raise OutputFailed(f"{self.target}: somebody else writes {key}; let only slidemill write there, and convert again")

    # -- publishing --

    async def _settled(self) -> None:
        await self.claim.confirm()
        await self._require_whole(self.base)

    async def _publish(self) -> None:
        await self.claim.confirm()
        final, first = key_of(self.target), min(self._root, key=ROOTS.index)
        others = [name for name in ROOTS if name != first]
        for name in set(others) - set(await broken(self.claim, final, others)):
            found = await self.client.get(joined(final, name))
            if found is not None and found[0] != self._root.get(name):
                raise exists_error(self.target)
        place = await sealed(self.claim, joined(final, first))
        if place is None:
            raise exists_error(self.target)
        for name in sorted(self._root, key=ROOTS.index, reverse=True):
            await self.claim.confirm()
            if name == first:
                await self._put_bound(joined(final, name), self._root[name], place)
            else:
                await self._put_root(joined(final, name), self._root[name])
        self._published = True

    async def _put_bound(self, key: str, data: bytes, place: str) -> None:
        """Put the root in the place of this run's seal. Whoever took the claim over has removed that."""
        try:
            await self.client.change(key, data, place)
        except AlreadyThere:
            found = await self.client.get(key)
            if found is not None and found[0] == data:  # the answer to our own put was lost
                return
            await self.claim.confirm()
            raise exists_error(self.target) from None

    async def _look_again(self) -> None:
        await self.claim.confirm()
        final = key_of(self.target)
        found = await self._require_whole(final)
        others = {name for name in ROOTS if name in found and name not in self._root}
        others -= set(await broken(self.claim, final, sorted(others)))
        if others:
            raise OutputFailed(f"{self.target}: {min(others)} came from somebody else; let only slidemill write there")
        for name, data in self._root.items():
            found = await self.client.get(joined(final, name))
            if found is None or found[0] != data:
                raise OutputFailed(f"{self.target}: {name} is not there as it was written; convert again")

    async def _put_root(self, key: str, data: bytes) -> None:
        try:
            await self.client.create(key, data)
        except AlreadyThere:
            # The answer to our own put may have been lost: the run's id in the root tells whose it is.
            found = await self.client.get(key)
            if found is None or found[0] != data:
                raise exists_error(self.target) from None

    async def _require_whole(self, base: str) -> Mapping[str, Found]:
        """The listing, which has every object with its size and ETag, and nothing else. Strays can only come from requests
        of a dead run that took effect late: they are removed."""
        found = await self.client.listing(base)
        known = {*self._put, *self._root, *OPENING}
        strays = [path for path in found if path not in known]
        if strays and not (self.claim.inherited or self.claim.took_over):
            raise OutputFailed(f"{self.target}: {strays[0]} came from somebody else; let only slidemill write there")
        await self.client.delete([joined(base, path) for path in strays])
        for path, (entry, etag) in self._put.items():
            if not await self._as_written(joined(base, path), (entry, etag), found.get(path)):
                raise OutputFailed(f"{self.target}: {path} is not there as it was written; convert again")
        return found

    async def _as_written(self, key: str, wanted: tuple[Entry, str | None], found: Found | None) -> bool:
        entry, etag = wanted
        if found is None or found.size != entry.size:
            return False
        if etag is not None and found.etag == etag:
            return True
        whole = await self.client.get(key)  # copies that the server encrypts have new ETags
        return whole is not None and hashlib.sha256(whole[0]).hexdigest() == entry.sha256

    async def _swap(self, final: str) -> None:
        await self.claim.confirm()
        old = self._as_seen(await self.client.listing(final))
        self.claim.began = True  # what lies there without a root, should this run end here, is for the next one to remove
        await self.claim.confirm()
        await self._remove(final, old)
        await self.claim.confirm()
        for some in batched(self._put, _COPIES):
            self.claim.check()  # a run that was suspended and wakes up copies nothing any more
            await self.client.copy({joined(self.base, path): joined(final, path) for path in some})
        await self._require_whole(final)

    def _as_seen(self, found: Mapping[str, Found]) -> Mapping[str, Found]:
        """What lies at the target now, where that is the store which lay there when the conversion began, or a part of it."""
        for path, now in found.items():
            before = self.seen.get(path)
            if before is None or (before.size, before.etag) != (now.size, now.etag):
                raise Refused(
                    f"{self.target}: {path} was written by somebody else during the conversion; nothing was replaced; "
                    "look at it, and convert again"
                )
        return found

    async def _remove(self, folder: str, found: Mapping[str, Found]) -> None:
        for name in ROOTS:
            if name in found:
                await self.client.delete([joined(folder, name)])
        for some in batched((path for path in found if path not in ROOTS), _DELETIONS):
            self.claim.check()
            await self.client.delete([joined(folder, path) for path in some])

    # -- the end --

    async def _clean(self) -> None:
        await self._uploads.land_or_cancel()
        with suppress(Lost):
            if not self._published:
                self.claim.check()
                await self._withdraw()
            if self.base != key_of(self.target):
                await self._remove(self.base, await self.client.listing(self.base))
        late = self._uploads.may_come_late and not self._published
        await (self.claim.leave() if late else self.claim.release())

    async def _withdraw(self) -> None:
        """Remove what this run wrote, unless a root is there that is not this run's: then the old store is still whole."""
        final = key_of(self.target)
        found = await self.client.listing(final)
        for name in ROOTS:
            root = await self.client.get(joined(final, name)) if name in found else None
            if root is not None and root[0] != self._root.get(name) and not is_seal(root[0]):
                return
        for _ in range(_ROUNDS):
            ours = [path for path in found if self.claim.inherited or path in self._sent or path in self._root]
            if not ours:
                return
            ours.sort(key=lambda path: path not in ROOTS)  # while its root is there, nothing of a store is removed
            for some in (ours[:1], ours[1:]):
                await self.client.delete([joined(final, path) for path in some])
            found = await self.client.listing(final)


def open_object_stage(target: Url, *, replace: bool, stopped: Callable[[], bool]) -> ObjectStage:
    """A stage for `target`, under a claim. What a dead run left there is removed first, and only that.

    Raises Refused while another run writes there, or where something lies that is no store; OutputFailed.
    """
    client = Client(target)
    parent, _, name = key_of(target).rpartition("/")
    claim = Claim(client, joined(parent, STAGES, name, "claim.json"))
    try:
        client.wait(claim.acquire())
        client.guard = claim.check
        base, seen = client.wait(_begin(claim, target, replace=replace))
    except BaseException:
        with suppress(ConverterError, TimeoutError, CancelledError):
            client.wait(claim.release(), _RELEASE_S)
        client.close()
        raise
    client.submit(claim.keep())
    return ObjectStage(client, target, claim, stopped, base, seen)


async def _begin(claim: Claim, target: Url, *, replace: bool) -> tuple[str, Mapping[str, Found]]:
    """Look at what lies there, now that nobody else writes; where to write, and the store that is to be replaced."""
    client, final = claim.client, key_of(target)
    left = [path for path in await client.listing(claim.folder) if joined(claim.folder, path) != claim.key]
    await client.delete([joined(claim.folder, path) for path in left])
    found = await client.listing(final)
    for name in await broken(claim, final, [name for name in ROOTS if name in found]):
        del found[name]
    if is_rooted(found):
        if not replace:
            raise exists_error(target)
        return joined(claim.folder, claim.run), found
    if found and not claim.inherited:
        raise no_store(target)
    await client.delete([joined(final, path) for path in found])
    claim.began = True
    await claim.confirm()
    return final, {}


def is_rooted(found: Mapping[str, Any]) -> bool:
    """Whether a listing has the root of a store that somebody can open."""
    return any(name in found for name in OPENING)


def no_store(target: Url) -> Refused:
    """The refusal of a prefix under which something lies that is no store."""
    return Refused(f"{target}: objects lie there that are no store; remove them, or give another output")
