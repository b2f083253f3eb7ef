# Each target sets up its own environment first; a second call takes well under a second.
SHELL := bash
PYTHON := .venv/bin/python
PYTEST_ARGS ?= -n 2 --dist worksteal
BENCH_ARGS ?=

.PHONY: help env demo test test-slow lint types bench lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | while IFS='|' read -r name does; do \
		printf '  make %-10s %s\n' "$$name" "$$does"; done

env: ## make .venv with the versions of requirements.lock
	@scripts/setup-env.sh

demo: env ## run the service in a temporary place: three slides are dropped in, one slowly, one broken
	@.venv/bin/slidemill demo --service

test: env ## all tests but the slow ones
	@$(PYTHON) -m pytest -m "not slow" $(PYTEST_ARGS)

# Exit code 5 says that no test is marked slow, which is no failure.
test-slow: env ## the slow tests
	@scripts/install-debian.sh || true
	@$(PYTHON) -m pytest -m slow $(PYTEST_ARGS) || [ $$? -eq 5 ]

lint: env ## style and common mistakes
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check

# The variable keeps pyright from asking the network for a newer version of itself.
types: env ## types, strict
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 .venv/bin/pyright

bench: env ## speed and memory, one table
	@$(PYTHON) -m tests.bench $(BENCH_ARGS)

lock: env ## write requirements.lock anew
	@scripts/lock.sh

clean: ## remove caches and everything made; .venv stays
	@rm -rf build dist .pytest_cache .ruff_cache .hypothesis tests/samples/made
	@find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
