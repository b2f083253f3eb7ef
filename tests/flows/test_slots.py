"""A slot that is free again is filled at once."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from prefect.workers.process import ProcessWorker

from flows.engine.forked import POKE
from flows.engine.poke import listener
from flows.engine.workers import SlotWorker


def test_a_run_that_ended_has_the_worker_look_for_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(POKE, str(tmp_path / "poke"))
    heard = listener()
    assert heard is not None
    with heard:
        worker = SlotWorker(work_pool_name="any", limit=1)
        with pytest.raises(BlockingIOError):
            heard.recv(1)
        worker._release_limit_slot(uuid4())  # pyright: ignore[reportPrivateUsage]
        assert heard.recv(1) == b"."


@pytest.mark.parametrize("name", [name for name in vars(SlotWorker) if name.startswith("_") and not name.startswith("__")])
def test_prefect_has_what_is_replaced(name: str) -> None:
    assert any(name in vars(base) for base in ProcessWorker.__mro__)
