# Every target does its own set-up from a bare Python >= 3.11. Another interpreter: make test PYTHON=python3.12 VENV=.venv-312
PYTHON ?= python3
VENV := .venv
ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PLUGINS := $(patsubst %/pyproject.toml,%,$(sort $(wildcard plugins/*/*/pyproject.toml)))
EDITABLE := $(foreach plugin,$(PLUGINS),-e "$(plugin)$(if $(filter plugins/policies/%,$(plugin)),,[twin])")
PACKAGES := gateway schemas/gateway_schemas $(foreach plugin,$(PLUGINS),$(wildcard $(plugin)/gateway_*))

# The stamp remembers what was installed from where. A plugin that is gone, or a moved folder, needs a new environment:
# its entry points and scripts would stay behind.
WANTED := $(subst $() ,?,$(CURDIR)) $(PLUGINS)
INSTALLED := $(shell cat $(STAMP) 2>/dev/null)
GONE := $(filter-out $(WANTED),$(INSTALLED))

.DEFAULT_GOAL := help
.PHONY: help setup demo test torture lint bench format clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-9s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## make .venv with the gateway, every plugin and the tools

demo: $(STAMP) ## play an evening of complaints against simulated providers
	$(BIN)/gateway demo $(ARGS)

# One more than there are cores: most slow tests wait for processes of their own.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

test: $(STAMP) ## run all tests but torture; ARGS="-k name", ARGS="tests/guard"
	$(BIN)/pytest -n $(WORKERS) --dist worksteal $(ARGS)

# Schedules and the long replays; schedules alone where ARGS is theirs.
SCHEDULED := $(filter --schedules% --seed% --first% --pairs% --harm% --steps% --again% --bugs,$(ARGS))

torture: $(STAMP) ## run the product under injected faults; ARGS="--schedules 2000", ARGS="--seed 7 --pairs x:zendesk"
	PYTHONPATH=tests $(BIN)/python tests/torture/run.py $(if $(SCHEDULED),$(ARGS),--schedules 200)
	$(if $(SCHEDULED),,$(BIN)/pytest -m torture --timeout 0 tests $(ARGS))

lint: $(STAMP) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(PACKAGES) $(ARGS)

bench: $(STAMP) ## measure the budgets
	PYTHONPATH=tests $(BIN)/python tests/bench/run.py $(ARGS)

format: $(STAMP) ## put the code into the house format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

clean: ## remove the environment and the caches
	test ! -f $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis

FORCE:

$(STAMP): pyproject.toml schemas/pyproject.toml $(PLUGINS:%=%/pyproject.toml) constraints.txt $(if $(filter-out $(INSTALLED),$(WANTED))$(GONE),FORCE)
	@command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON) was not found. Install Python 3.11 or later, or name one: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is $$("$(PYTHON)" -V 2>&1); the gateway needs Python 3.11 or later. Name one: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments (no ensurepip). On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@$(if $(GONE),,$(BIN)/python -c "" 2>/dev/null ||) { test ! -f $(VENV)/pyvenv.cfg || rm -rf $(VENV); }
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	$(BIN)/uv pip install --python $(BIN)/python --quiet --compile-bytecode -c constraints.txt \
		--build-constraints constraints.txt --group dev -e ".[traces]" -e "schemas[testing]" $(EDITABLE)
	@$(BIN)/python -m compileall -q $(PACKAGES)
	@echo '$(WANTED)' > $(STAMP)
