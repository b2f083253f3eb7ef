"""Prefect as the engine of the service: `flows.service.dispatch.Dispatcher` over its API."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Cancelled, Crashed

from flows.engine.clock import server_time
from flows.engine.names import CONVERT, DEPLOYMENT
from flows.service.dispatch import EngineUnavailable, Run, RunState

_STATES = {
    StateType.SCHEDULED: RunState.QUEUED,
    StateType.PAUSED: RunState.QUEUED,
    StateType.PENDING: RunState.PENDING,
    StateType.RUNNING: RunState.RUNNING,
    StateType.COMPLETED: RunState.ENDED,
    StateType.FAILED: RunState.ENDED,
    StateType.CRASHED: RunState.CRASHED,
    StateType.CANCELLED: RunState.CANCELLED,
    StateType.CANCELLING: RunState.CANCELLED,
}
_PAGE = 100


@contextmanager
def reaching_prefect() -> Generator[None]:
    """EngineUnavailable for whatever keeps the API from answering."""
    try:
        yield
    except (httpx.HTTPError, PrefectHTTPStatusError, OSError) as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise EngineUnavailable(f"the Prefect API does not answer: {text}") from error
    except RuntimeError as error:  # what the client raises where it cannot reach the server at its start
        raise EngineUnavailable(f"the Prefect API does not answer: {error}") from error


@dataclass(slots=True)
class PrefectDispatcher:
    """For one thread. Addresses and credentials come from Prefect's own settings and environment."""

    _deployment: UUID | None = field(default=None, init=False)

    def submit(self, slide: str, attempt: int, queue: str) -> str:
        """Start a run of the slide's flow; slide and attempt are its idempotency key."""
        with reaching_prefect(), get_client(sync_client=True) as client:
            try:
                run = client.create_flow_run_from_deployment(
                    self._deployment_id(client),
                    parameters={"slide": slide, "attempt": attempt},
                    name=f"{slide}-{attempt}",
                    idempotency_key=f"{slide}:{attempt}",
                    work_queue_name=queue,
                )
            except ObjectNotFound as error:
                self._deployment = None
                raise EngineUnavailable(f"the deployment {CONVERT}/{DEPLOYMENT} does not exist (yet)") from error
            return str(run.id)

    def begin(self, flow: str, key: str) -> None:
        """Start a run of a flow that needs no parameters; one, however many ask with the same key."""
        with reaching_prefect(), get_client(sync_client=True) as client:
            try:
                deployment = client.read_deployment_by_name(f"{flow}/{DEPLOYMENT}").id
            except ObjectNotFound as error:
                raise EngineUnavailable(f"the deployment {flow}/{DEPLOYMENT} does not exist (yet)") from error
            client.create_flow_run_from_deployment(deployment, idempotency_key=key)

    def _deployment_id(self, client: SyncPrefectClient) -> UUID:
        if self._deployment is None:
            self._deployment = client.read_deployment_by_name(f"{CONVERT}/{DEPLOYMENT}").id
        return self._deployment

    def runs(self, ids: Sequence[str]) -> Mapping[str, Run]:
        """What became of runs."""
        found: dict[str, Run] = {}
        with reaching_prefect(), get_client(sync_client=True) as client:
            now = server_time(client)
            for first in range(0, len(ids), _PAGE):
                wanted = FlowRunFilterId(any_=[UUID(run) for run in ids[first : first + _PAGE]])
                for run in client.read_flow_runs(flow_run_filter=FlowRunFilter(id=wanted), limit=_PAGE):
                    found[str(run.id)] = _run(run, now)
        return found

    def end(self, run: str, reason: str) -> None:
        """Mark a run as crashed (or cancelled, where that is the reason), so that nobody starts it or believes it runs."""
        state = Cancelled(message=reason) if reason == "cancelled" else Crashed(message=reason)
        with reaching_prefect(), get_client(sync_client=True) as client:
            try:
                if client.read_flow_run(UUID(run)).state_type not in (StateType.COMPLETED, StateType.CANCELLED):
                    client.set_flow_run_state(UUID(run), state, force=True)
            except ObjectNotFound:
                return


def _run(run: FlowRun, now: datetime) -> Run:
    state = run.state
    if state is None:
        return Run(RunState.QUEUED, 0.0)
    age = (now - state.timestamp).total_seconds()
    return Run(_STATES[state.type], max(0.0, age), state.message)
