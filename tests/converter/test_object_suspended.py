"""A run that is suspended right before any of its requests, for longer than its lease: another one takes over and ends, and
what the first does when it wakes changes nothing of that. And what others do while a store is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import obstore
import pytest

from converter.errors import Busy, ConverterError, OutputFailed, Refused
from converter.objects.client import Client
from converter.publishing import claim as claims
from converter.publishing.claim import Lost
from converter.publishing.object_stage import ObjectStage, open_object_stage
from converter.publishing.seal import seal
from drivers.location import Url
from tests.support.object_server import ObjectServer, folder_of
from tests.support.object_stores import contents

pytest_plugins = ["tests.support.object_server", "tests.support.object_stores"]
MOST = 30
"""More requests than a run of these has."""


def run(target: Url, word: bytes, root: str = "zarr.json") -> None:
    """All that a conversion does with a stage: two objects and a root of the given content."""
    stage = open_object_stage(target, replace=True, stopped=lambda: False)
    try:
        for name in ("0/c/0/0/0", f"0/c/1/{word.decode()}/0"):
            stage.write(name, [word])
        stage.write_root(root, word)
        stage.sync()
        if stage.swaps:
            stage.swap()
        stage.publish()
        stage.settle()
    finally:
        stage.discard()


@dataclass
class Suspension:
    """Of the first client, before its request `number` that writes or removes; everybody's clock goes on by 1000 s."""

    number: int
    how: str
    meanwhile: Callable[[], None]
    reached: bool = False
    clock: float = 0.0
    _client: Client | None = None

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        """Let clients be suspended."""
        really, pause = Client._tried, Client._pause

        async def tried(client: Client, ask: Any, *given: Any, writes: bool = False, **more: Any) -> Any:
            self._client = self._client or client
            if writes and client is self._client:
                self.number -= 1
                if self.number == 0 and self.how == "before it is sent":
                    self._suspend(patch)
                elif self.number == 0:
                    ask = self._failing(ask)
            return await really(client, ask, *given, writes=writes, **more)

        async def paused(client: Client, *given: Any) -> None:
            if client is self._client and self.number <= 0 and not self.reached:
                self._suspend(patch)
            else:
                await pause(client, *given)

        patch.setattr(Client, "_tried", tried)
        patch.setattr(Client, "_pause", paused)
        patch.setattr(claims, "_clock", lambda: time.monotonic() + self.clock)

    def _failing(self, ask: Any) -> Any:
        first = [True]

        async def lost() -> Any:
            if not first:
                return await ask()
            first.clear()
            if self.how == "its answer lost":
                with suppress(Exception):  # a condition that does not hold is an answer too
                    await ask()
            raise ConnectionError(self.how)

        return lost

    def _suspend(self, patch: pytest.MonkeyPatch) -> None:
        self.reached, self.clock = True, self.clock + 1000.0
        with patch.context() as old:
            old.setattr(claims, "LEASE_S", -1.0)
            with ThreadPoolExecutor(1) as other:  # all of the older run stands still: this is the thread of its loop
                other.submit(self.meanwhile).result()


def tried_at_every_request(target: Url, how: str, monkeypatch: pytest.MonkeyPatch, check: Callable[[int], None]) -> int:
    """Suspend a run before its first, second, ... request, and look each time. How many there are."""
    monkeypatch.setattr("converter.publishing.object_stage.PUBLISH_S", 90.0)
    for number in range(1, MOST):
        with monkeypatch.context() as patch:
            suspension = Suspension(number, how, lambda: run(target, b"newer"))
            suspension.patch(patch)
            with suppress(ConverterError):
                run(target, b"older")
        if not suspension.reached:
            return number - 1
        check(number)
    raise AssertionError("more requests than a run has")


@pytest.mark.parametrize(
    "how",
    [
        "before it is sent",
        pytest.param("failed once", marks=pytest.mark.slow),
        pytest.param("its answer lost", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("replacing", [True, False])
def test_who_wakes_up_changes_nothing_of_the_run_that_took_over(
    object_server: ObjectServer, target: Url, monkeypatch: pytest.MonkeyPatch, how: str, replacing: bool
) -> None:
    parent = target.text.rpartition("/")[0]
    newer = {"x.zarr/zarr.json": b"newer", "x.zarr/0/c/0/0/0": b"newer", "x.zarr/0/c/1/newer/0": b"newer"}

    def clear() -> None:
        obstore.delete(object_server.client(folder_of(parent)), list(object_server.objects(parent)))
        if replacing:
            run(target, b"first")

    def check(number: int) -> None:
        # Suspended before it had a claim it is the newer one itself.
        assert contents(object_server, parent) == (older if number == 1 else newer), number
        clear()

    older = {name.replace("newer", "older"): b"older" for name in newer}
    clear()
    assert tried_at_every_request(target, how, monkeypatch, check) >= (14 if replacing else 12)
    assert contents(object_server, parent) == older


LATE = {
    "a seal beside 0.4": (".zattrs", "zarr.json", seal("dead"), True),
    "a seal beside 0.5": ("zarr.json", ".zattrs", seal("dead"), True),
    "half a root": ("zarr.json", ".zgroup", b"{}", True),
    "a root": (".zattrs", "zarr.json", b"{}", False),
}


@pytest.mark.parametrize("case", LATE)
def test_what_marks_another_root_and_comes_late_is_removed(
    object_server: ObjectServer, target: Url, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """A request of a dead run for a store of the other version of OME-Zarr, on its way when its claim was taken over."""
    root, late, content, ours = LATE[case]
    dead = open_object_stage(target, replace=True, stopped=lambda: False)
    dead.client.close()
    really = ObjectStage._put_bound
    client = object_server.client(folder_of(target.text))

    async def put(stage: ObjectStage, *given: str | bytes) -> None:
        await really(stage, *given)  # type: ignore[arg-type]
        obstore.put(client, late, content)

    monkeypatch.setattr(ObjectStage, "_put_bound", put)
    monkeypatch.setattr(claims, "LEASE_S", -1.0)
    if ours:
        run(target, b"newer", root)
        assert set(contents(object_server, target.text)) == {root, "0/c/0/0/0", "0/c/1/newer/0"}
    else:
        with pytest.raises(OutputFailed, match="somebody else"):
            run(target, b"newer", root)
        assert contents(object_server, target.text)[late] == content


CHANGES = {
    "another root": ("zarr.json", b"theirs"),
    "another object": ("0/c/0/0/0", b"edit"),
    "a label": ("labels/0", b"dear"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_store_that_somebody_changed_meanwhile_is_not_replaced(
    object_server: ObjectServer, target: Url, change: str
) -> None:
    """By a program that knows of no claim: what it wrote would be lost."""
    run(target, b"first")
    client = object_server.client(folder_of(target.text))
    stage = open_object_stage(target, replace=True, stopped=lambda: False)
    stage.write("0/c/0/0/0", [b"newer"])
    stage.write_root("zarr.json", b"newer")
    stage.sync()
    obstore.put(client, *CHANGES[change])
    before = contents(object_server, target.text)
    with pytest.raises(Refused, match="by somebody else during the conversion"):
        stage.swap()
    stage.discard()
    assert contents(object_server, target.text.rpartition("/")[0]) == {f"x.zarr/{name}": v for name, v in before.items()}
    run(target, b"newer")
    assert contents(object_server, target.text)["zarr.json"] == b"newer"


def test_a_suspended_run_of_this_machine_does_not_keep_the_target_for_ever(
    object_server: ObjectServer, target: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    suspended = open_object_stage(target, replace=False, stopped=lambda: False)
    with pytest.raises(Busy, match="is being written by"):
        run(target, b"newer")
    with monkeypatch.context() as patch:
        patch.setattr(claims, "LEASE_S", -1.0)
        run(target, b"newer")
    with pytest.raises(Lost):
        suspended.sync()
    suspended.discard()
    assert contents(object_server, target.text)["zarr.json"] == b"newer"


def test_a_run_that_gives_its_claim_back_late_takes_nobody_elses_away(
    object_server: ObjectServer, target: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken over between its look at the claim and the deletion, which knows no condition."""
    suspended = open_object_stage(target, replace=False, stopped=lambda: False)
    newer: list[ObjectStage] = []
    really = Client.get

    async def get(client: Client, key: str) -> Any:
        found = await really(client, key)
        if client is suspended.client and key.endswith("claim.json") and not newer:
            newer.append(None)  # type: ignore[arg-type]
            with ThreadPoolExecutor(1) as other, monkeypatch.context() as patch:
                patch.setattr(claims, "LEASE_S", -1.0)
                taking = other.submit(open_object_stage, target, replace=False, stopped=lambda: False)
                newer[0] = taking.result()
        return found

    monkeypatch.setattr(Client, "get", get)
    suspended.discard()
    newer[0].client.wait(newer[0].claim.confirm())
    newer[0].discard()
    assert object_server.objects(target.text.rpartition("/")[0]) == {}
