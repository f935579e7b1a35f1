# `make` or `make help` lists what there is. Everything runs in .venv, which is made on first use.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DRIVERS := $(VENV)/.installed-interop
CODE   := poolguard tests bench

# More than the two cores that are reckoned with: tests wait for events half of their time, and a third worker uses it.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help run demo test interop reports races cases check bench guard-cost versions soak lease-soak format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
		echo "$(PYTHON) was not found. Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$($(PYTHON) -V), poolguard needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	@echo "making $(VENV) (once; about a minute)"
	@$(PYTHON) -m venv $(VENV) || { \
		echo "could not make $(VENV). On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' >$(VENV)/install.log 2>&1 || { \
		cat $(VENV)/install.log; echo "installing failed: see above, or $(VENV)/install.log"; exit 1; }
	@touch $@

run: $(STAMP) ## run poolguard; on a private PostgreSQL unless DATABASE_URL or PGHOST is set
	@exec $(BIN)/poolguard run $(if $(DATABASE_URL)$(PGHOST),,--embedded-postgres) $(ARGS)

demo: $(STAMP) ## leaked transactions, the guard and a lease at work, in under a minute
	@exec $(BIN)/poolguard demo

test: $(STAMP) ## all tests (ARGS="-k name", ARGS="--pg-dsn postgresql://..." for another PostgreSQL)
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

$(DRIVERS): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[interop]'
	@touch $@

interop: $(DRIVERS) ## drivers in Python, Go, Node, PHP and Java through poolguard (ARGS="-k pgx"); skips say what is missing
	@$(BIN)/python -m pytest tests/interop $(ARGS)

versions: $(STAMP) ## the tests that meet PostgreSQL, on 14 to 18, from Maven Central (ARGS="--only 14 18"); an hour
	@$(BIN)/python -m tests.versions $(ARGS)

reports: $(DRIVERS) ## five reports from other people's trackers, and what poolguard says of each (ARGS=elections)
	@$(BIN)/python -m tests.interop.reports $(ARGS)

races: $(STAMP) ## 1,000 races of a cancel or rollback with the client's next message, of each kind
	@POOLGUARD_RACES=1000 $(BIN)/python -m pytest tests/integration/relay/test_races.py $(ARGS)

cases: $(STAMP) ## the wire cases and the checks of the guard, each with the tests that hold it
	@$(BIN)/python -m tests.support.wire_cases
	@$(BIN)/python -m tests.support.checks

check: $(STAMP) ## format, lint, types, import contracts
	@$(BIN)/ruff format --check --output-format concise $(CODE) || { echo "make format would mend the above"; exit 1; }
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/mypy $(CODE)
	@$(BIN)/lint-imports --no-logo

bench: $(STAMP) ## direct, PgBouncer (where installed) and poolguard side by side (ARGS="--quick")
	@exec $(BIN)/python -m bench $(ARGS)

guard-cost: $(STAMP) ## what the guard takes of a core with 40 busy servers, and the lock graph with 200 waiters; half a minute
	@exec $(BIN)/python -m tests.guard_cost $(ARGS)

soak: $(STAMP) ## real drivers at work while clients, servers and PostgreSQL die; ten minutes (ARGS="--seconds 60")
	@exec $(BIN)/python -m tests.relay_soak $(ARGS)

lease-soak: $(STAMP) ## leases under random faults, exhausted pools, races; half an hour (ARGS="--only faults --minutes 1")
	@exec $(BIN)/python -m tests.soak $(ARGS)

format: $(STAMP) ## format, and mend what lint can mend
	@$(BIN)/ruff format $(CODE)
	@$(BIN)/ruff check --fix $(CODE)

clean: ## remove .venv, caches and build output
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
