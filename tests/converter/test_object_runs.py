"""Several runs for one target, interrupts and kills: one store or none, and never anything of somebody else's removed."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pytest

from converter import convert as convert_module
from converter.checking.verify import verify_store
from converter.errors import Busy, OutputFailed, Refused
from converter.objects.client import Client
from converter.publishing.claim import Claim, Lost
from converter.publishing.object_stage import ObjectStage, open_object_stage
from converter.publishing.seal import seal
from drivers import open_slide
from drivers.location import Url
from drivers.model import Slide
from flows.outcome import exit_code
from tests.made.svs import Svs, make_svs
from tests.support.object_server import ObjectServer, folder_of
from tests.support.object_stores import OPTIONS, command, contents, opens
from tests.support.stores import converted
from tests.support.waiting import wait_for

pytest_plugins = ["tests.support.object_server", "tests.support.object_stores"]
Made = Callable[[str, Callable[[Path], object]], Path]


# -- several at once --


def test_race(object_server: ObjectServer, prefix: str, svs: Path, made: Made) -> None:
    other = made("other.svs", lambda path: make_svs(path, Svs(size=(640, 700), steps=())))
    store = f"{prefix}/x.ome.zarr"
    runs = [command("convert", path, "-o", store, "--json", *OPTIONS) for path in (svs, other, svs)]
    found = [json.loads(process.communicate(timeout=240)[0]) for process in runs]
    codes = [process.returncode for process in runs]
    assert sorted(codes) == [0, 5, 5], found
    for receipt in (r for r in found if r["status"] == "failed"):
        assert receipt["error"]["kind"] == "refused"
        assert "is being written by" in receipt["error"]["message"] or "exists already" in receipt["error"]["message"]
    winner = (svs, other, svs)[codes.index(0)]
    with open_slide(winner) as opened:
        assert verify_store(Url(store), slide=opened, depth="full").violations == []
    assert {name.partition("/")[0] for name in object_server.objects(prefix)} == {"x.ome.zarr"}


def stage_at(target: Url, *, replace: bool = False) -> Any:
    """A stage under a claim."""
    return open_object_stage(target, replace=replace, stopped=lambda: False)


def other_host(server: ObjectServer, target: Url, **facts: object) -> None:
    """Let the claim on `target` look as if another machine held it."""
    parent, _, name = target.text.rpartition("/")
    client = server.client(folder_of(parent))
    key = f".stage/{name}/claim.json"
    found = json.loads(bytes(obstore.get(client, key).bytes()))
    obstore.put(client, key, json.dumps(found | {"host": "elsewhere", "machine": "elsewhere"} | facts).encode())


def test_a_claim_keeps_others_out_until_it_is_old(
    object_server: ObjectServer, target: Url, slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = stage_at(target)
    dead.write("0/c/0/0/0", [b"left over"])
    dead.sync()
    with pytest.raises(Busy, match=r"is being written by run .* on ") as caught:
        converted(slide, target)
    assert exit_code(caught.value) == 5
    other_host(object_server, target)
    with pytest.raises(Busy, match="on elsewhere"):
        converted(slide, target)
    with monkeypatch.context() as patch:
        patch.setattr("converter.publishing.claim.LEASE_S", -1.0)
        converted(slide, target)
    assert verify_store(target, slide=slide, depth="full").violations == []
    before = contents(object_server, target.text)
    with pytest.raises(Lost, match="another run"):  # it wakes up
        dead.publish()
    with pytest.raises(Lost):
        dead.write("0/c/9/9/9", [b"late"])
    dead.discard()
    assert contents(object_server, target.text.rpartition("/")[0]) == {f"x.zarr/{k}": v for k, v in before.items()}


def test_a_claim_is_renewed(object_server: ObjectServer, target: Url, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converter.publishing.claim.RENEW_S", 0.05)
    stage = stage_at(target)
    for _ in range(3):
        before, renewed = stage.claim._etag, stage.claim._renewed
        while stage.claim._renewed == renewed:
            time.sleep(0.01)
        assert stage.claim._etag != before
    stage.write("0/c/0", [b"in time"])
    stage.discard()
    assert object_server.objects(target.text.rpartition("/")[0]) == {}


def test_killed_before_it_looked_no_claim_gives_away_what_is_there(
    object_server: ObjectServer, target: Url, slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim of a dead run that had not begun says nothing of what lies below the target."""
    client = object_server.client(folder_of(target.text))
    stage_at(target).client.close()
    other_host(object_server, target, began=False)
    obstore.put(client, "letter.txt", b"dear")
    monkeypatch.setattr("converter.publishing.claim.LEASE_S", -1.0)
    for _ in range(2):
        with pytest.raises(Refused, match="no store"):
            converted(slide, target)
    assert contents(object_server, target.text) == {"letter.txt": b"dear"}


def test_who_could_not_renew_stops_writing(object_server: ObjectServer, target: Url, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_at(target)
    monkeypatch.setattr("converter.publishing.claim.GIVE_UP_S", -1.0)  # as after a pause that long
    with pytest.raises(Lost, match="could not be renewed"):
        stage.write("0/c/0", [b"late"])
    stage.discard()
    assert set(object_server.objects(target.text.rpartition("/")[0])) == {".stage/x.zarr/claim.json"}


def test_a_late_write_of_a_dead_run_is_put_right(
    object_server: ObjectServer, target: Url, slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage_at(target).client.close()  # its claim stays
    other_host(object_server, target)
    monkeypatch.setattr("converter.publishing.claim.LEASE_S", -1.0)
    really = Claim.acquire

    async def acquire(claim: Claim) -> None:
        await really(claim)
        claim.client.submit(late(claim))

    async def late(claim: Claim) -> None:
        for name in ("0/c/0/0/0", "1/zarr.json", "0/c/7/7/7"):
            while not began:
                await asyncio.sleep(0.001)
            await claim.client.create(f"{folder_of(target.text)}/{name}", b"from another slide")

    began: list[bool] = []
    monkeypatch.setattr(Claim, "acquire", acquire)
    original = convert_module.run_image

    def run_image(*arguments: Any) -> None:
        began.append(True)
        time.sleep(0.3)
        original(*arguments)

    monkeypatch.setattr(convert_module, "run_image", run_image)
    converted(slide, target)
    assert verify_store(target, slide=slide, depth="full").violations == []


def test_what_appears_from_somebody_else_is_not_removed(object_server: ObjectServer, target: Url) -> None:
    client = object_server.client(folder_of(target.text))
    stage = stage_at(target)
    stage.write("0/c/0", [b"ours"])
    obstore.put(client, "letter.txt", b"dear")
    with pytest.raises(OutputFailed, match=r"letter\.txt"):
        stage.sync()
    stage.discard()
    assert contents(object_server, target.text) == {"letter.txt": b"dear"}


def test_a_root_of_somebody_else_is_not_replaced(object_server: ObjectServer, target: Url) -> None:
    client = object_server.client(folder_of(target.text))
    for moment in ("before", "late"):
        stage = stage_at(target)
        stage.write("0/c/0", [b"ours"])
        stage.write_root("zarr.json", b"ours")
        stage.sync()
        if moment == "before":
            obstore.put(client, "zarr.json", b"theirs")
        else:
            stage.client.wait(late_root(stage, client))
        with pytest.raises(Refused, match="exists already"):
            stage.publish()
        stage.discard()
        assert contents(object_server, target.text)["zarr.json"] == b"theirs"
        obstore.delete(client, ["zarr.json", "0/c/0"])


async def late_root(stage: Any, client: Any) -> None:
    """Let a root appear between the last look and our put."""
    really = stage.client.change

    async def change(key: str, data: bytes, etag: str) -> str | None:
        obstore.put(client, "zarr.json", b"theirs")
        return await really(key, data, etag)

    stage.client = _Late(stage.client, change)


class _Late:
    """A client whose `change` is another."""

    def __init__(self, client: Client, change: Any) -> None:
        self._client, self.change = client, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_a_run_suspended_before_its_root_put_never_publishes_over_the_one_that_took_over(
    object_server: ObjectServer, target: Url, slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has asked for the last time whether its claim holds, and the only request that is left is its root."""
    client, sent = object_server.client(folder_of(target.text)), list[str]()
    suspended = stage_at(target)
    suspended.write("0/c/0/0/0", [b"of the older run"])
    suspended.write_root("zarr.json", b"the older root")
    suspended.sync()
    really = suspended.client.change

    async def change(key: str, data: bytes, etag: str) -> str | None:
        assert bytes(obstore.get(client, "zarr.json").bytes()) != data
        other_host(object_server, target)
        with monkeypatch.context() as patch:
            patch.setattr("converter.publishing.claim.LEASE_S", -1.0)
            await asyncio.to_thread(converted, slide, target)
        sent.append(key)
        return await really(key, data, etag)

    suspended.client = _Late(suspended.client, change)
    monkeypatch.setattr("converter.publishing.object_stage.PUBLISH_S", 90.0)
    with pytest.raises(Lost, match="another run"):
        suspended.publish()
    suspended.discard()
    assert sent
    assert verify_store(target, slide=slide, depth="full").violations == []
    assert {name.partition("/")[0] for name in object_server.objects(target.text.rpartition("/")[0])} == {"x.zarr"}


def test_a_seal_without_its_run_is_in_nobodys_way(object_server: ObjectServer, target: Url, slide: Slide) -> None:
    client = object_server.client(folder_of(target.text))
    obstore.put(client, "zarr.json", seal("dead"))
    assert not opens(target)
    converted(slide, target)
    assert verify_store(target, slide=slide).violations == []


def test_what_an_older_run_wrote_at_the_very_end_is_found(
    object_server: ObjectServer, target: Url, slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request was on its way while the newer run listed what is there: the newer one looks once more."""
    client = object_server.client(folder_of(target.text))
    stage_at(target).client.close()
    other_host(object_server, target)
    monkeypatch.setattr("converter.publishing.claim.LEASE_S", -1.0)
    really = ObjectStage._put_bound

    async def put(stage: ObjectStage, key: str, data: bytes, place: str) -> None:
        await really(stage, key, data, place)
        obstore.put(client, "0/c/0/0/0", b"late")

    monkeypatch.setattr(ObjectStage, "_put_bound", put)
    with pytest.raises(OutputFailed, match="0/c/0/0/0"):
        converted(slide, target)
    assert not opens(target)


# -- interrupts and kills --


@pytest.fixture
def slow(made: Made) -> Path:
    """A slide that takes a second or two to convert with OPTIONS."""
    return made("object-slow.svs", lambda path: make_svs(path, Svs(size=(1400, 1500), codec="raw", tile=(256, 256))))


def test_interrupt_leaves_nothing(object_server: ObjectServer, prefix: str, slow: Path, tmp_path: Path) -> None:
    stands = tmp_path / "stands"
    process = command("convert", slow, "-o", f"{prefix}/x.ome.zarr", "--json", *OPTIONS, standing=(20, stands))
    assert wait_for(stands.exists, process)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130, out + err
    assert json.loads(out)["error"]["kind"] == "interrupted"
    assert object_server.objects(prefix) == {}


def kill_series(server: ObjectServer, prefix: str, slow: Path, moments: list[int]) -> None:
    """Kill after so many objects each; nothing opens that is not whole; the last run succeeds."""
    store, hits = Url(f"{prefix}/x.ome.zarr"), 0
    for count in moments:
        process = command("convert", slow, "-o", store, "--json", "--exists", "replace", *OPTIONS)
        in_time = wait_for(lambda count=count: len(server.objects(prefix)) >= count, process)
        process.kill()
        process.communicate()
        hits += in_time
        if opens(store):
            with open_slide(slow) as opened:
                assert verify_store(store, slide=opened, depth="full").violations == []
    assert hits >= len(moments) // 2
    process = command("convert", slow, "-o", store, "--json", "--exists", "replace", *OPTIONS)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    assert verify_store(store).violations == []
    assert {name.partition("/")[0] for name in server.objects(prefix)} == {"x.ome.zarr"}


def test_kill(object_server: ObjectServer, prefix: str, slow: Path) -> None:
    kill_series(object_server, prefix, slow, [90])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3))
def test_kill_often(object_server: ObjectServer, prefix: str, slow: Path, seed: int) -> None:
    moments = random.Random(seed)
    kill_series(object_server, prefix, slow, [moments.randint(1, 420) for _ in range(12)])
