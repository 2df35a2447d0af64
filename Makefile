# `make` alone lists what there is. Needs Python 3.11+, make and a POSIX shell; all else is installed into .venv.
.DEFAULT_GOAL := help
.PHONY: help run test fuzz lint format rehearse stop
SHELL := /bin/sh
BIN := .venv/bin
# OpenMP threads that spin at barriers bring every other process on a CPU to a halt.
OMP_WAIT_POLICY ?= PASSIVE
export OMP_WAIT_POLICY

help: ## This list
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

run: .venv/installed-train ## Start everything and print the address; Ctrl-C stops it, all data kept
	@exec $(BIN)/python manage.py up

stop: ## Stop what `make run` started, from another terminal
	@test -x $(BIN)/python || { echo "rankloop: nothing is installed here yet."; exit 1; }
	@$(BIN)/python -m config.launching.stopping

rehearse: .venv/installed-train ## A whole round with simulated annotators (ARGS="--oracle module:function --seed 11")
	@$(BIN)/python manage.py rehearse $(ARGS)

test: .venv/installed-dev ## Every test (ARGS="-k lease" chooses)
	@$(BIN)/python -m tests.browser.chromium
	$(BIN)/python -m pytest -n 3 --dist loadgroup --no-loadscope-reorder $(ARGS)

fuzz: .venv/installed-dev ## Call the API in every way that its document allows and forbids, for ten minutes (SECONDS=60)
	RANKLOOP_CONTRACT=examples,coverage,fuzzing,stateful RANKLOOP_FUZZ_SECONDS=$(or $(SECONDS),600) $(BIN)/python -m pytest -q tests/api/test_contract.py

lint: .venv/installed-dev ## Style, types and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	DATABASE_URL=postgresql:///not-connected-to $(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed-dev ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-%: .venv/installed-bench ## One benchmark, benchmarks/%.py (QUICK=1: a minute at most)
	@test -f benchmarks/$*.py || { echo "rankloop: there is no benchmarks/$*.py. There are: $$(cd benchmarks && grep -l 'ArgumentParser' *.py | sed 's/\.py$$//' | tr '\n' ' ')"; exit 1; }
	@$(BIN)/python -m benchmarks.$* $(if $(QUICK),--quick) $(ARGS)

.venv/installed-train: pyproject.toml requirements.lock
	@sh config/install.sh train

.venv/installed-dev: pyproject.toml requirements.lock
	@sh config/install.sh train,dev

.venv/installed-bench: pyproject.toml requirements.lock
	@sh config/install.sh train,bench
