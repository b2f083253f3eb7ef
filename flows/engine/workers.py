"""Prefect's workers of one machine in one process, one for each pool, and whoever sees to it that a scan is under way."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from uuid import UUID

from prefect.client.schemas.objects import FlowRun
from prefect.logging.configuration import setup_logging
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import ProcessWorker

from flows.engine.keeper import keep
from flows.engine.names import CONTROL_POOL
from flows.engine.poke import listener, poke
from flows.engine.suspension import unobserved
from flows.engine.threads import ThreadWorker

_TOGETHER_S = 0.05

log = logging.getLogger("slidemill.workers")


def run(pools: Sequence[str]) -> int:
    """Work for pools, each `NAME=LIMIT`, until told to stop. Returns an exit code."""
    setup_logging()
    unobserved()
    limits = {name: int(limit) for name, _, limit in (pool.partition("=") for pool in pools)}
    try:
        asyncio.run(_work(limits))
    except KeyboardInterrupt:
        log.info("stopped")
    return 0


async def _work(limits: dict[str, int]) -> None:
    import os

    setup_signal_handlers_worker(os.getpid(), "the workers", log.info)
    workers = [_kind(pool)(work_pool_name=pool, limit=limit) for pool, limit in limits.items()]
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.start(printer=log.info))
        receiver = listener()
        if receiver is not None:
            group.create_task(_poked(receiver, workers))
        group.create_task(keep())


class SlotWorker(ProcessWorker):
    """Prefect's worker of a pool of type `process`, which looks for the next run as soon as one has ended.

    Prefect's own looks when it would look anyway: every slide waited for half of that time. Two requests a run are saved, of
    which nothing follows: that it is being submitted, and labels that name this worker.
    """

    @classmethod
    def __dispatch_key__(cls) -> str:
        """Whoever looks for workers of type `process` finds Prefect's."""
        return "slidemill-slots"

    def _release_limit_slot(self, flow_run_id: UUID) -> None:
        super()._release_limit_slot(flow_run_id)
        poke()

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        pass

    async def _give_worker_labels_to_flow_run(self, flow_run_id: UUID) -> None:
        pass


def _kind(pool: str) -> type[ProcessWorker]:
    return ThreadWorker if pool == CONTROL_POOL else SlotWorker


async def _poked(receiver: socket.socket, workers: Sequence[ProcessWorker]) -> None:
    """Look for work whenever somebody says that there is some."""
    loop = asyncio.get_running_loop()
    while True:
        await loop.sock_recv(receiver, 1)
        await asyncio.sleep(_TOGETHER_S)  # whoever hands out slides hands out several
        while _pending(receiver):
            pass
        for worker in workers:
            try:
                await worker.get_and_submit_flow_runs()
            except Exception as error:  # noqa: BLE001 - the worker's own loop asks again, and says what is wrong
                log.debug("looking for work: %s", type(error).__name__)


def _pending(receiver: socket.socket) -> bool:
    try:
        return bool(receiver.recv(1))
    except BlockingIOError:
        return False
