"""Runs of scan and reconcile as threads of the workers' process: they look and wait, and a process each costs 100 MB.

Neither touches what is in a slide: whoever asks drivers is a process of its own (`flows.watching.probe`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading

import anyio.abc
import httpx
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.flow_engine import load_flow, run_flow
from prefect.states import Cancelled
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult

from flows.engine import stopping

_ASKED_S = 30.0

log = logging.getLogger("slidemill.threads")


class ThreadWorker(ProcessWorker):
    """Prefect's worker of a pool of type `process`, whose runs are threads of its own process."""

    @classmethod
    def __dispatch_key__(cls) -> str:
        """Whoever looks for workers of type `process` finds Prefect's."""
        return "slidemill-threads"

    async def run(
        self,
        flow_run: FlowRun,
        configuration: ProcessJobConfiguration,  # noqa: ARG002 - Prefect's signature
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> ProcessWorkerResult:
        """Run a flow until it ends by itself, is cancelled, or this process is to end."""
        stop = stopping.begin(flow_run.id)
        if task_status is not None:
            task_status.started(os.getpid())
        watcher = asyncio.create_task(self._until_cancelled(flow_run, stop))
        try:
            # Not `to_thread`: that would take Prefect's context of the worker along.
            code = await asyncio.get_running_loop().run_in_executor(None, _run, flow_run)
        finally:
            stop.set()
            watcher.cancel()
            stopping.over(flow_run.id)
        if watcher.done() and not watcher.cancelled() and watcher.exception() is None:
            await self.client.set_flow_run_state(flow_run.id, Cancelled(), force=True)
        return ProcessWorkerResult(status_code=code, identifier=str(flow_run.id))

    async def _until_cancelled(self, flow_run: FlowRun, stop: threading.Event) -> None:
        """Returns once somebody cancelled the run, having told it to stop. A process would have been sent a signal."""
        while True:
            await asyncio.sleep(_ASKED_S)
            try:
                now = await self.client.read_flow_run(flow_run.id)
            except ObjectNotFound:
                stop.set()
                return
            except httpx.HTTPError as error:
                log.debug("whether a run is cancelled: %s", type(error).__name__)
                continue
            if now.state_type in (StateType.CANCELLING, StateType.CANCELLED):
                stop.set()
                return


def _run(flow_run: FlowRun) -> int:
    """Returns what would be the exit code of a process. What failed is in Prefect by then, and in its log."""
    try:
        run_flow(load_flow(flow_run), flow_run=flow_run)
    except (Abort, Pause) as error:
        log.info("a run was not begun: %s", error)
    except Exception:
        log.exception("a run failed")
    return 0
