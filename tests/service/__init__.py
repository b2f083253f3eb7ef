"""Tests of the service with real processes: a PostgreSQL, a Prefect server, workers, and what can befall them."""
