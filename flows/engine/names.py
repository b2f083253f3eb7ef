"""Names under which the service is known to Prefect."""

from __future__ import annotations

SLIDE_POOL = "slidemill"
CONTROL_POOL = "slidemill-control"
"""Scanning and reconciling have workers of their own: slides that take hours must not hold them up."""
DEPLOYMENT = "slidemill"
CONVERT, SCAN, RECONCILE = "convert_slide", "scan", "reconcile"
CONTROL_LIMIT = 4
COMMAND = "python -m flows.engine.start"
"""How a worker starts a run: forked from a process that has everything imported, or as Prefect does. Stated, it also saves a
second process that looks for code to fetch."""
EVERYWHERE = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_RESULTS_DEFAULT_SERIALIZER": "json",
    "PREFECT_WORKER_QUERY_SECONDS": "1",
    "PREFECT_LOGGING_EXTRA_LOGGERS": "slidemill",
}
"""Environment of servers, workers and runs. The serializer: a pickle from a shared place is code."""
SERVER_ONLY = {
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": "604800",
}
"""Environment of servers: a run of scan and reconcile a minute would fill the database. The ledger keeps what counts."""
ONE_MACHINE = {
    "PREFECT_WORKER_QUERY_SECONDS": "15",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "10",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "30",
}
"""Environment where all is on one machine: workers are told of work, so they and the server need not look each second."""
