"""Work pools, queues and deployments on a Prefect server: made where they are not, brought up to date where they are."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.flows import Flow
from prefect.types.entrypoint import EntrypointType
from prefect.workers.process import ProcessWorker

from flows.engine.dispatcher import reaching_prefect
from flows.engine.names import COMMAND, CONTROL_POOL, DEPLOYMENT, RECONCILE, SCAN, SLIDE_POOL
from flows.engine.runs import convert_slide, reconcile, scan
from flows.service.dispatch import EngineUnavailable
from flows.settings import QUEUES, Settings, load_settings


def deploy(settings: Settings) -> None:
    """Make or update everything. Safe to repeat. Raises EngineUnavailable."""
    with reaching_prefect():
        with get_client(sync_client=True) as client:
            for pool in (SLIDE_POOL, CONTROL_POOL):
                _pool(client, pool)
            for rank, queue in enumerate(QUEUES, 1):
                _queue(client, queue, rank)
        _apply(convert_slide, SLIDE_POOL, work_queue_name="scheduled")
        _apply(scan, CONTROL_POOL, interval=timedelta(seconds=settings.schedule.scan_run_seconds))
        again = max(settings.schedule.scan_run_seconds, settings.schedule.reconcile_seconds)
        _apply(reconcile, CONTROL_POOL, interval=timedelta(seconds=again))


def start_now() -> None:
    """One scan and one reconciliation at once: schedules begin with the next full interval. Raises EngineUnavailable."""
    with reaching_prefect(), get_client(sync_client=True) as client:
        for name in (RECONCILE, SCAN):
            client.create_flow_run_from_deployment(client.read_deployment_by_name(f"{name}/{DEPLOYMENT}").id)


def _pool(client: SyncPrefectClient, name: str) -> None:
    """A pool of processes, where there is none of that name: one of another type is the operator's choice."""
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))


def _queue(client: SyncPrefectClient, name: str, priority: int) -> None:
    try:
        client.create_work_queue(name, priority=priority, work_pool_name=SLIDE_POOL)
    except ObjectAlreadyExists:
        return


def _apply(flow: Flow[..., Any], pool: str, **more: Any) -> None:
    more |= {"entrypoint_type": EntrypointType.MODULE_PATH, "job_variables": {"command": COMMAND}}
    made = flow.to_deployment(DEPLOYMENT, work_pool_name=pool, **more)
    cast(RunnerDeployment, made).apply()  # a coroutine only where a loop runs


def main() -> int:
    """Deploy by the settings, and begin. Returns an exit code; what was wrong goes to standard error."""
    try:
        deploy(load_settings(None))
        start_now()
    except EngineUnavailable as error:
        sys.stderr.write(f"{error}\n")
        return 6
    return 0
