"""An object store that fails, hangs, loses answers or spoils them: recovered, or given up soon and with the right word."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest

from converter.checking.verify import verify_store
from converter.errors import ConverterError, Denied, OutputFailed, Unanswered, Unreachable, Unusable
from converter.objects.client import Client, Patience, key_of
from drivers.location import Url
from drivers.model import Slide
from flows.cli import run
from flows.outcome import exit_code
from tests.made.svs import Svs, make_svs
from tests.support.fault_proxy import Fault, Proxy, proxy_of
from tests.support.object_server import WRITER, ObjectServer, folder_of
from tests.support.object_stores import OPTIONS, command, contents, opens
from tests.support.stores import converted
from tests.support.waiting import wait_for

pytest_plugins = ["tests.support.object_server", "tests.support.object_stores"]
Made = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
def proxy(object_server: ObjectServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of the server; this process's requests go through it, with little patience."""
    with proxy_of(object_server.url) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.url)
        patience = {"request_s": 3.0, "longest_s": 0.3, "quiet_s": 1.0}
        monkeypatch.setattr("converter.publishing.object_stage.Client", lambda url: Client(url, Patience(**patience)))
        yield found


def sound(server: ObjectServer, target: Url, slide: Slide, proxy: Proxy) -> None:
    """The store is whole and equal to its slide, and nothing else is left."""
    proxy.faults.clear()
    assert verify_store(target, slide=slide, depth="full").violations == []
    assert {name.partition("/")[0] for name in server.objects(target.text.rpartition("/")[0])} == {"x.zarr"}


PARTS = ("claim.json", "x.zarr/zarr.json", "x.zarr/0/c/0/1/1", "OME/manifest.json")
RARER = [(kind, part, n) for kind in (409, 503, "rst") for part in PARTS for n in (1, 2) if (kind, n) != (409, 2)]


@pytest.mark.parametrize(
    ("kind", "part", "times"),
    [("lost", part, 1) for part in PARTS] + [pytest.param(*case, marks=pytest.mark.slow) for case in RARER],
)
def test_puts_that_go_wrong(
    object_server: ObjectServer, proxy: Proxy, target: Url, slide: Slide, *, kind: int | str, part: str, times: int
) -> None:
    proxy.faults.append(fault := Fault(kind, "PUT", part, times))
    assert converted(slide, target).status == "done"
    assert fault.hits == times
    deletes = [path for method, path in proxy.seen if method == "DELETE" or "?delete" in path]
    assert len(deletes) == 1, "only the claim goes: what a lost answer put is recognised, not put again"
    sound(object_server, target, slide, proxy)


def test_a_lost_answer_to_the_last_put_of_the_older_version(
    object_server: ObjectServer, proxy: Proxy, target: Url, slide: Slide
) -> None:
    seen: list[bool] = []
    for name in (".zgroup", ".zattrs"):
        proxy.faults.append(Fault("lost", "PUT", f"x.zarr/{name}", 1, then=lambda: seen.append(opens(target))))
    assert converted(slide, target, ome_zarr="0.4").status == "done"
    assert seen == [False, False]  # all but the last file is up, and no reader finds an image
    sound(object_server, target, slide, proxy)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("kind", ["lost", 500])
def test_other_requests_that_go_wrong(
    object_server: ObjectServer, proxy: Proxy, target: Url, slide: Slide, *, method: str, kind: int | str
) -> None:
    proxy.faults.append(Fault(kind, method, "", 1))
    assert converted(slide, target).status == "done"
    proxy.faults.append(Fault(kind, method, "", 1))
    assert converted(slide, target, exists="replace").status == "done"
    sound(object_server, target, slide, proxy)


@pytest.mark.slow
def test_bursts(object_server: ObjectServer, proxy: Proxy, target: Url, slide: Slide) -> None:
    proxy.faults += [Fault(503, times=1, skip=5 * n) for n in range(1, 12)] + [Fault("rst", "PUT", times=3, skip=30)]
    assert converted(slide, target).status == "done"
    sound(object_server, target, slide, proxy)


@pytest.mark.slow
def test_hang(object_server: ObjectServer, proxy: Proxy, target: Url, slide: Slide) -> None:
    proxy.faults.append(fault := Fault("hang", "PUT", "x.zarr/0/", 1, seconds=120))
    assert converted(slide, target).status == "done"
    assert fault.hits == 1
    assert not fault.over, "nobody waited for the answer"
    fault.go.set()
    sound(object_server, target, slide, proxy)


@pytest.mark.parametrize(
    "part",
    ["x.zarr/zarr.json", *(pytest.param(part, marks=pytest.mark.slow) for part in ("x.zarr/0/", "claim.json"))],
)
def test_always_503_is_given_up(object_server: ObjectServer, proxy: Proxy, target: Url, slide: Slide, part: str) -> None:
    proxy.faults.append(fault := Fault(503, "PUT", part))
    with pytest.raises(Unreachable, match="503 SlowDown") as caught:
        converted(slide, target)
    assert exit_code(caught.value) == 6
    assert caught.value.retryable
    assert fault.hits <= 108
    assert object_server.objects(target.text.rpartition("/")[0]) == {}
    proxy.faults.clear()
    assert converted(slide, target).status == "done"


def test_what_was_never_answered_may_come_late(object_server: ObjectServer, proxy: Proxy, target: Url, slide: Slide) -> None:
    """The server is away, comes back, and carries out what it was asked for, when the run that asked has cleaned up."""
    proxy.faults.append(Fault("rst", "PUT", "x.zarr/0/"))
    with pytest.raises(Unanswered):
        converted(slide, target)
    proxy.faults.clear()
    folder = target.text.rpartition("/")[0]
    assert list(object_server.objects(folder)) == [".stage/x.zarr/claim.json"]
    obstore.put(object_server.client(), f"{key_of(target)}/0/c/9/9/9", b"late")
    assert converted(slide, target).status == "done"
    sound(object_server, target, slide, proxy)


def test_retries_have_a_budget() -> None:
    patience = Patience()
    assert sum(patience.take() for _ in range(1000)) == 100
    for _ in range(5):
        patience.give()
    assert patience.take()
    assert not patience.take()


@pytest.mark.parametrize("part", ["claim.json", "x.zarr/0/", "x.zarr/zarr.json"])
def test_403_is_not_tried_again(object_server: ObjectServer, proxy: Proxy, target: Url, slide: Slide, part: str) -> None:
    proxy.faults.append(fault := Fault(403, "PUT", part))
    with pytest.raises(Denied) as caught:
        converted(slide, target)
    assert (exit_code(caught.value), caught.value.retryable) == (6, False)
    assert fault.hits <= 8  # those that were under way side by side
    for word in WRITER:
        assert word not in str(caught.value)
    assert object_server.objects(target.text.rpartition("/")[0]) == {}


def test_a_server_that_ignores_conditions_is_refused(
    object_server: ObjectServer, proxy: Proxy, target: Url, slide: Slide
) -> None:
    import obstore

    claims = object_server.client(f"{folder_of(target.text.rpartition('/')[0])}/.stage/x.zarr")
    proxy.faults.append(Fault("", "PUT", "claim.json", then=lambda: obstore.delete(claims, "claim.json")))
    with pytest.raises(Unusable, match="ignores If-None-Match") as caught:
        converted(slide, target)
    assert (exit_code(caught.value), caught.value.retryable) == (6, False)
    assert object_server.objects(target.text) == {}


def test_a_server_without_conditions_is_refused(proxy: Proxy, target: Url, slide: Slide) -> None:
    proxy.faults.append(Fault(501, "PUT"))
    with pytest.raises(Unusable, match="conditional puts"):
        converted(slide, target)


def test_a_put_that_is_lost_although_it_was_acknowledged_is_found(
    object_server: ObjectServer, proxy: Proxy, target: Url, slide: Slide
) -> None:
    import obstore

    def lose() -> None:
        obstore.delete(object_server.client(folder_of(target.text)), "0/c/0/0/0")

    proxy.faults.append(Fault("", "PUT", "OME/manifest.json", 1, then=lose))
    with pytest.raises(OutputFailed, match="0/c/0/0/0 is not there as it was written"):
        converted(slide, target)
    assert object_server.objects(target.text.rpartition("/")[0]) == {}


def test_a_body_that_changes_on_the_way_up_is_refused_by_the_server(
    object_server: ObjectServer, prefix: str, proxy: Proxy
) -> None:
    client = Client(Url(f"{prefix}/x.zarr"), Patience(request_s=1.0))
    proxy.faults.append(fault := Fault("spoil", "PUT", times=2))
    try:
        client.wait(client.create(f"{folder_of(prefix)}/a", b"whole"))
    finally:
        client.close()
    assert fault.hits == 2
    assert contents(object_server, prefix) == {"a": b"whole"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cut", "flip"])
def test_answers_that_are_spoilt_are_found(
    object_server: ObjectServer, proxy: Proxy, target: Url, slide: Slide, kind: str
) -> None:
    converted(slide, target)
    proxy.faults.append(fault := Fault(kind, "GET", "x.zarr/0/c/0/1/1"))
    try:
        report = verify_store(target, depth="full")
    except Unreachable:
        assert kind == "cut"  # tried again, and never whole: that is the network's fault
    else:
        assert any(v.startswith("0") for v in report.violations), report.violations
    assert fault.hits
    if kind == "cut":
        proxy.faults[:] = [Fault(kind, "GET", "x.zarr/0/c/0/1/1", 1)]
        assert verify_store(target, depth="full").ok


@pytest.mark.slow
def test_cleaning_up_without_a_server_ends_soon(
    object_server: ObjectServer, proxy: Proxy, target: Url, slide: Slide, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.faults.append(Fault("rst", "", "", skip=40))
    began = time.monotonic()
    with pytest.raises(ConverterError):
        converted(slide, target)
    assert time.monotonic() - began < 20
    assert not opens(target)
    proxy.faults.clear()
    # The claim is left; its holder is this process, which lives: another machine would wait for the lease.
    with pytest.raises(ConverterError, match="is being written by"):
        converted(slide, target)
    monkeypatch.setattr("converter.process.machine", lambda: "another")
    monkeypatch.setattr("converter.publishing.claim.LEASE_S", -1.0)
    assert converted(slide, target).status == "done"
    sound(object_server, target, slide, proxy)


@pytest.mark.slow
def test_interrupt_in_a_hang(object_server: ObjectServer, prefix: str, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    svs = made("hang.svs", lambda path: make_svs(path, Svs(size=(700, 800), steps=())))
    with proxy_of(object_server.url) as proxy:
        proxy.faults.append(fault := Fault("hang", "PUT", "x.zarr/0/", 8, seconds=200))
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        process = command("convert", svs, "-o", f"{prefix}/x.zarr", "--json", *OPTIONS)
        assert wait_for(lambda: fault.hits >= 8, process)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 130, out + err
        assert not fault.over, "nobody waited for the answers"
        fault.go.set()
    assert object_server.objects(prefix) == {}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_server_killed_meanwhile(object_server: ObjectServer, prefix: str, made: Made) -> None:
    svs = made("killed.svs", lambda path: make_svs(path, Svs(size=(1400, 1500), codec="raw", tile=(256, 256))))
    store = Url(f"{prefix}/x.ome.zarr")
    process = command("convert", svs, "-o", store, "--json", *OPTIONS)
    assert wait_for(lambda: len(object_server.objects(prefix)) > 40, process)
    object_server.kill()
    time.sleep(2)
    object_server.start()
    out, err = process.communicate(timeout=120)
    found = json.loads(out)
    assert process.returncode in (0, 6), out + err
    if process.returncode == 6:
        assert found["error"]["retryable"]
        assert not opens(store)
        assert run(["convert", str(svs), "-o", str(store), "--json", *OPTIONS]) == 0
    assert verify_store(store).violations == []


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_no_answer_for_ever(object_server: ObjectServer, prefix: str, made: Made) -> None:
    svs = made("killed.svs", lambda path: make_svs(path, Svs(size=(1400, 1500), codec="raw", tile=(256, 256))))
    with proxy_of(object_server.url) as proxy, contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("AWS_ENDPOINT_URL", proxy.url)
        proxy.faults.append(Fault(503, "", "", skip=60))
        process = command("convert", svs, "-o", f"{prefix}/x.ome.zarr", "--json", *OPTIONS)
        out, err = process.communicate(timeout=200)  # the budget of retries ends it much sooner
    error: dict[str, Any] = json.loads(out)["error"]
    assert (process.returncode, error["kind"], error["retryable"]) == (6, "network", True), err
    assert not opens(f"{prefix}/x.ome.zarr")
