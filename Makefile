# Everything runs from .venv, which is made once for each version of the lock file.
.DEFAULT_GOAL := help
.PHONY: help run demo test e2e-platform e2e-clients check types quick bench chaos fuzz simulate mutations
PYTHON ?= python3
MINUTES ?= 10
HOURS ?= 1
SEEDS ?= 1
KILLS ?= 100
# Each starts servers of its own: what the cores can carry, not more.
TEST_PROCESSES ?= 2
# Integration tests wait for their servers a third of the time.
TEST_WORKERS ?= 3
# Hundreds of processes are started by tests alone: each module is compiled once, not by each of them.
export PYTHONDONTWRITEBYTECODE :=
BIN := .venv/bin
VENV := .venv/.installed

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: export NIJA_DEMO_USER ?= true
run: $(VENV) ## Start everything on this machine; Ctrl-C stops it, data is kept
	@$(BIN)/nija up

demo: $(VENV) ## Show the platform at work, from a fresh start to a recovery
	@$(BIN)/nija demo

test: check ## Check, then run every test with real servers
	$(BIN)/pytest -m "integration and not e2e" -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder
	$(MAKE) --no-print-directory -j$(TEST_PROCESSES) e2e-platform e2e-clients

e2e-platform:
	$(BIN)/pytest -m e2e tests/e2e

e2e-clients:
	$(BIN)/pytest -m e2e tests/chaos tests/sdk

check: $(VENV) ## Format, lint, types, import rules and the quick tests
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/lint-imports
	$(MAKE) --no-print-directory -j$(TEST_PROCESSES) types quick

types:
	$(BIN)/mypy .

quick:
	$(BIN)/pytest -m "not integration and not e2e"

bench: $(VENV) ## Measure
	$(BIN)/python -m bench

chaos: $(VENV) ## Kill every process again and again while bots trade; KILLS=100 BOTS=50 SEED=
	$(BIN)/python -m chaos --kills $(KILLS) --bots $(or $(BOTS),50) $(if $(SEED),--seed $(SEED))

fuzz: $(VENV) ## Try the API with made-up requests; MINUTES=10
	$(BIN)/python -m tests.fuzz $(MINUTES)

simulate: $(VENV) ## Simulate the whole system; SEED=1 SEEDS=1 HOURS=1 BOTS=100 QUIET=60 LEDGER=
	$(BIN)/python -m simulation --seed $(or $(SEED),1) --seeds $(SEEDS) --hours $(HOURS) --bots $(or $(BOTS),100) --quiet-minutes $(or $(QUIET),60) --processes $(TEST_PROCESSES) $(if $(LEDGER),--ledger $(LEDGER))

mutations: $(VENV) ## Break the product in six ways; the simulation has to catch each
	$(BIN)/python -m simulation.mutations

$(VENV): requirements-dev.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	PYTHONWARNINGS=ignore $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
