"""Runs of a schedule that nobody was there to start are cancelled: a day without workers would take hours to make up."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled

from flows.engine.clock import server_time
from flows.engine.dispatcher import reaching_prefect

_PAGE = 200


def forget_missed(flow: str, seconds: float) -> datetime:
    """Cancel the runs of a flow that were due so many seconds ago or earlier, by the server's clock, which planned them.

    Returns what time it is there. Raises EngineUnavailable.
    """
    with reaching_prefect(), get_client(sync_client=True) as client:
        now = server_time(client)
        due = FlowRunFilterNextScheduledStartTime.model_validate({"before_": now - timedelta(seconds=seconds)})
        scheduled = FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]))
        runs = client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[flow])),
            flow_run_filter=FlowRunFilter(state=scheduled, next_scheduled_start_time=due),
            limit=_PAGE,
        )
        for run in runs:
            with suppress(ObjectNotFound):
                client.set_flow_run_state(run.id, Cancelled(message="missed; a later run has its place"))
    return now
