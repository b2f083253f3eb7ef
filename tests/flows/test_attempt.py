"""One attempt at a slide: the fence, copies, changes, interruptions, and what follows from failures."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from flows.ledger import attempts
from flows.ledger.attempts import Fenced, Ticket
from flows.ledger.tables import State
from flows.service import orders
from flows.service.attempt import Watch, run_attempt
from flows.service.dispatch import Run, RunState
from flows.service.process import is_gone, pid_here, this_process
from flows.service.reconcile import reconcile
from tests.flows.parts import Bench, bench, submitted, touch

REST = """
[limits]
small_bytes = 0
retry_seconds = 0.1
heartbeat_seconds = 0.05
lease_seconds = 1
attempts = 2
hang_seconds = 5
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bench]:
    """A bench with short times."""
    found = bench(tmp_path, rest=REST)
    yield found
    found.close()


def run(here: Bench, ticket: Ticket, watch: Watch | None = None) -> State | None:
    return run_attempt(here.engine, here.settings, ticket, watch or Watch())


def stores(here: Bench) -> list[str]:
    """What lies in the output folder, hidden stages too."""
    out = here.place / "out"
    return sorted(path.name for path in out.iterdir()) if out.is_dir() else []


def test_a_slide_is_converted(here: Bench, slide: Path) -> None:
    steps: list[str] = []

    def step(name: str, work: Callable[[], object]) -> object:
        steps.append(name)
        return work()

    ticket = submitted(here, slide)
    assert run(here, ticket, Watch(step=step)) == State.DONE  # type: ignore[arg-type]
    row = here.row("a.svs")
    assert row.receipt is not None
    assert row.receipt["fingerprint"] == row.fingerprint
    assert stores(here) == ["a.ome.zarr"]
    assert [name.partition(" ")[0] for name in steps] == ["fingerprint", "plan", "convert", "convert", "verify", "publish"]


def test_a_ticket_is_good_once(here: Bench, slide: Path) -> None:
    ticket = submitted(here, slide)
    assert run(here, ticket) == State.DONE
    assert run(here, ticket) is None
    assert run(here, Ticket(ticket.slide, 7)) is None


def test_an_older_attempt_never_publishes(here: Bench, slide: Path) -> None:
    ticket = submitted(here, slide)

    def step(name: str, work: Callable[[], object]) -> object:
        if name == "publish":  # a newer attempt begins while this one believes that it has the slide
            here.change(ticket.slide, attempt=2, state=State.SUBMITTED)
        return work()

    assert run(here, ticket, Watch(step=step)) is None  # type: ignore[arg-type]
    assert stores(here) == []
    assert here.row("a.svs").state == State.SUBMITTED
    assert run(here, Ticket(ticket.slide, 2)) == State.DONE
    assert stores(here) == ["a.ome.zarr"]


def test_the_fence_holds_while_it_is_open(here: Bench, slide: Path) -> None:
    ticket = submitted(here, slide)
    attempts.start(here.engine, ticket, this_process())
    with attempts.publishing(here.engine, ticket):
        pass
    assert here.row("a.svs").state == State.PUBLISHED
    with pytest.raises(Fenced), attempts.publishing(here.engine, Ticket(ticket.slide, 0)):
        pytest.fail("an older attempt went through the fence")


def test_a_copy_is_stated_and_not_converted(here: Bench, slide: Path) -> None:
    first, second = submitted(here, slide), submitted(here, slide, "b.svs")
    assert run(here, first) == State.DONE
    assert run(here, second) == State.DUPLICATE
    row = here.row("b.svs")
    assert row.same_as == first.slide
    assert str(here.place / "out" / "a.ome.zarr") in (row.reason or "")
    assert stores(here) == ["a.ome.zarr"]


def test_a_copy_whose_first_output_was_removed_is_converted(here: Bench, slide: Path) -> None:
    first, second = submitted(here, slide), submitted(here, slide, "b.svs")
    run(here, first)
    shutil.rmtree(here.place / "out" / "a.ome.zarr")
    assert run(here, second) == State.DONE
    assert stores(here) == ["b.ome.zarr"]


def test_of_two_copies_that_take_over_one_is_converted(here: Bench, slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one took over between this one's look and its own take-over."""
    first, second, third = (submitted(here, slide, name) for name in ("a.svs", "b.svs", "c.svs"))
    run(here, first)
    shutil.rmtree(here.place / "out" / "a.ome.zarr")
    really, raced = attempts.take_over, list[Ticket]()

    def take_over(engine: Engine, ticket: Ticket, fingerprint: str, owner: str) -> bool:
        if not raced:
            raced.append(ticket)
            assert run(here, third) == State.DONE
        return really(engine, ticket, fingerprint, owner)

    monkeypatch.setattr(attempts, "take_over", take_over)
    assert run(here, second) == State.DUPLICATE
    assert here.row("b.svs").same_as == third.slide
    assert stores(here) == ["c.ome.zarr"]


def test_a_publication_of_two_steps_cannot_be_cancelled_in_between(here: Bench, slide: Path) -> None:
    ticket = submitted(here, slide)
    attempts.start(here.engine, ticket, this_process())
    with attempts.publishing(here.engine, ticket):
        pass
    here.change(ticket.slide, cancel=True)
    assert attempts.beat(here.engine, ticket, 1.0)
    with attempts.publishing(here.engine, ticket):
        pass
    here.change(ticket.slide, attempt=2)
    with pytest.raises(Fenced), attempts.publishing(here.engine, ticket):
        pytest.fail("an older attempt went through the fence")


def test_what_was_cancelled_before_it_began_does_not_begin(here: Bench, slide: Path) -> None:
    ticket = submitted(here, slide)
    assert orders.cancel(here.engine, here.row("a.svs")) == State.RUNNING
    opened: list[str] = []
    assert run(here, ticket, Watch(step=lambda name, work: (opened.append(name), work())[1])) is None  # type: ignore[arg-type]
    row = here.row("a.svs")
    assert (row.state, row.cancel, opened) == (State.CANCELLED, False, [])
    assert orders.retry(here.engine, row)
    here.feed()
    assert run(here, Ticket(ticket.slide, 2)) == State.DONE


def test_a_copy_of_a_cancelled_slide_is_converted(here: Bench, slide: Path) -> None:
    first, second = submitted(here, slide), submitted(here, slide, "b.svs")
    attempts.start(here.engine, first, this_process())
    fingerprint = "sha256:" + "0" * 64
    attempts.claim_content(here.engine, first, fingerprint, "x")
    here.change(first.slide, state=State.CANCELLED)
    here.change(second.slide, state=State.DUPLICATE, same_as=first.slide)
    reconcile(here.engine, here.settings, here.dispatcher)
    assert here.row("b.svs").state == State.READY


def test_a_slide_that_changed_is_not_converted(here: Bench, slide: Path) -> None:
    ticket = submitted(here, slide)
    touch(here.folder / "a.svs")
    assert run(here, ticket) == State.SUPERSEDED
    assert stores(here) == []
    here.scan(2)
    assert here.states() == {"a.svs": "superseded", "a.svs#1": "ready"}


def test_a_slide_that_changes_meanwhile_is_thrown_away(here: Bench, slide: Path) -> None:
    ticket = submitted(here, slide)

    def step(name: str, work: Callable[[], object]) -> object:
        if name == "verify":
            touch(here.folder / "a.svs")
        return work()

    assert run(here, ticket, Watch(step=step)) == State.SUPERSEDED  # type: ignore[arg-type]
    assert stores(here) == []


def test_a_slide_that_went_away(here: Bench, slide: Path) -> None:
    ticket = submitted(here, slide)
    (here.folder / "a.svs").unlink()
    assert run(here, ticket) == State.GONE
    assert "went away" in (here.row("a.svs").reason or "")
    shutil.copy(slide, here.folder / "a.svs")
    here.scan(2)
    assert here.states() == {"a.svs": "gone", "a.svs#1": "ready"}


def test_an_interruption_holds_nothing_against_the_slide(here: Bench, slide: Path) -> None:
    ticket, watch = submitted(here, slide), Watch()
    watch.stop.set()
    assert run(here, ticket, watch) == State.READY
    assert here.row("a.svs").failures == 0
    here.feed()
    assert run(here, Ticket(ticket.slide, 2)) == State.DONE


def test_a_wish_to_cancel_is_seen(here: Bench, slide: Path) -> None:
    ticket, began = submitted(here, slide), threading.Event()

    def step(name: str, work: Callable[[], object]) -> object:
        if name == "plan":
            here.change(ticket.slide, cancel=True)
            began.set()
            time.sleep(0.3)
        return work()

    assert run(here, ticket, Watch(step=step)) == State.CANCELLED  # type: ignore[arg-type]
    assert stores(here) == []


def test_a_wish_to_cancel_at_the_last_moment(tmp_path: Path, slide: Path) -> None:
    here = bench(tmp_path, rest="[limits]\nheartbeat_seconds = 60\nlease_seconds = 200\n")
    ticket = submitted(here, slide)

    def step(name: str, work: Callable[[], object]) -> object:
        if name == "publish":
            here.change(ticket.slide, cancel=True)
        return work()

    assert run(here, ticket, Watch(step=step)) == State.CANCELLED  # type: ignore[arg-type]
    assert stores(here) == []
    here.close()


def test_a_target_in_the_way_is_not_replaced(here: Bench, slide: Path) -> None:
    ticket, taken = submitted(here, slide), here.place / "out" / "a.ome.zarr"
    taken.mkdir(parents=True)
    (taken / "precious.txt").write_text("mine")
    assert run(here, ticket) == State.QUARANTINED
    assert here.row("a.svs").kind == "refused"
    assert (taken / "precious.txt").read_text() == "mine"


def test_an_original_is_moved_away(tmp_path: Path, slide: Path) -> None:
    here = bench(tmp_path, folder=f'original = "move"\nmove_to = "{tmp_path}/archive"', rest=REST)
    (here.folder / "day").mkdir()
    ticket = submitted(here, slide, "day/a.svs")
    assert run(here, ticket) == State.DONE
    assert (tmp_path / "archive" / "day" / "a.svs").read_bytes() == slide.read_bytes()
    assert not (here.folder / "day" / "a.svs").exists()
    here.scan(2)
    assert here.states() == {"day/a.svs": "done"}
    here.close()


def test_nothing_is_replaced_where_an_original_moves_to(tmp_path: Path, slide: Path) -> None:
    here = bench(tmp_path, folder=f'original = "move"\nmove_to = "{tmp_path}/archive"', rest=REST)
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "a.svs").write_text("another")
    ticket = submitted(here, slide)
    assert run(here, ticket) == State.DONE
    assert (tmp_path / "archive" / "a.svs").read_text() == "another"
    assert (here.folder / "a.svs").exists()
    here.close()


class TestReconcile:
    """What crashes, losses and hangs leave."""

    def begun(self, here: Bench, slide: Path, process: str) -> Ticket:
        ticket = submitted(here, slide)
        assert attempts.start(here.engine, ticket, process) is not None
        return ticket

    def gone(self) -> str:
        """A process of this machine that has ended."""
        return this_process().replace('"started": "', '"started": "9')

    def test_a_process_that_is_gone(self, here: Bench, slide: Path) -> None:
        ticket = self.begun(here, slide, self.gone())
        assert is_gone(self.gone())
        done = reconcile(here.engine, here.settings, here.dispatcher)
        assert done.requeued == [ticket.slide]
        row = here.row("a.svs")
        assert (row.state, row.kind, row.failures) == (State.FAILED, "crashed", 1)
        assert here.dispatcher.ended

    def test_one_too_often(self, here: Bench, slide: Path) -> None:
        ticket = self.begun(here, slide, self.gone())
        here.change(ticket.slide, failures=1)
        assert reconcile(here.engine, here.settings, here.dispatcher).quarantined == [ticket.slide]
        assert "attempt 2 of 2" in (here.row("a.svs").reason or "")

    def test_a_living_process_is_left_alone(self, here: Bench, slide: Path) -> None:
        self.begun(here, slide, this_process())
        assert pid_here(this_process()) is not None
        done = reconcile(here.engine, here.settings, here.dispatcher)
        assert (done.requeued, done.adopted) == ([], [])

    def test_an_output_that_was_published_is_taken_over(self, here: Bench, slide: Path) -> None:
        ticket = submitted(here, slide)
        assert run(here, ticket) == State.DONE
        here.change(ticket.slide, state=State.PUBLISHED, process=self.gone(), receipt=None)
        assert reconcile(here.engine, here.settings, here.dispatcher).adopted == [ticket.slide]
        row = here.row("a.svs")
        assert (row.state, (row.receipt or {}).get("fingerprint")) == (State.DONE, row.fingerprint)

    def test_another_output_is_not_taken_over(self, here: Bench, slide: Path) -> None:
        ticket = submitted(here, slide)
        assert run(here, ticket) == State.DONE
        changed = dict(here.row("a.svs").options) | {"codec": "blosc-lz4-5"}
        here.change(ticket.slide, state=State.RUNNING, process=self.gone(), options=changed)
        assert reconcile(here.engine, here.settings, here.dispatcher).requeued == [ticket.slide]

    @pytest.mark.parametrize(
        ("run", "state"),
        [
            (Run(RunState.QUEUED, 9e5), State.SUBMITTED),
            (Run(RunState.PENDING, 10), State.SUBMITTED),
            (Run(RunState.PENDING, 9e5), State.FAILED),
            (Run(RunState.CRASHED, 60), State.FAILED),
            (Run(RunState.ENDED, 60), State.FAILED),
            (Run(RunState.RUNNING, 9e5), State.FAILED),
            (Run(RunState.CANCELLED, 1), State.CANCELLED),
        ],
    )
    def test_runs_that_never_began(self, here: Bench, slide: Path, run: Run, state: State) -> None:
        ticket = submitted(here, slide)
        here.dispatcher.states[f"run-{ticket.slide}-1"] = run
        reconcile(here.engine, here.settings, here.dispatcher)
        row = here.row("a.svs")
        assert (row.state, row.failures) == (state, 0)

    def test_a_run_that_was_deleted(self, here: Bench, slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ticket = submitted(here, slide)
        monkeypatch.setattr(type(here.dispatcher), "runs", lambda *_: {})
        here.change(ticket.slide, submitted=1.0)
        reconcile(here.engine, here.settings, here.dispatcher)
        assert here.row("a.svs").kind == "lost"

    def test_an_engine_that_is_away_changes_nothing(self, here: Bench, slide: Path) -> None:
        submitted(here, slide)
        here.dispatcher.away = True
        assert reconcile(here.engine, here.settings, here.dispatcher).engine_away
        assert here.row("a.svs").state == State.SUBMITTED


def test_the_second_image_of_a_slide_is_progress(here: Bench, slide: Path) -> None:
    ticket = submitted(here, slide)
    attempts.start(here.engine, ticket, this_process())
    assert attempts.beat(here.engine, ticket, 0.9)
    here.change(ticket.slide, moved=1.0)
    assert attempts.beat(here.engine, ticket, 0.1)
    assert (here.row("a.svs").moved or 0) > 1.0
    here.change(ticket.slide, moved=1.0)
    assert attempts.beat(here.engine, ticket, 0.1)
    assert here.row("a.svs").moved == 1.0
