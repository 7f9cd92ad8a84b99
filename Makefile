# `make` prints this list. The two that do all the set-up: `make demo` and `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo up down test fuzz mutants hostile bench check schemas lock clean
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/uv/bin/uv
TESTS ?= tests
WORKERS ?= $(if $(filter external,$(PERENNIAL_TEST_INFRA)),0,2)
# uv is fast but does not read pip's configuration; where it cannot reach the registry, pip does.
install = $(UV) pip install -q --python $(BIN)/python $(1) || $(BIN)/python -m pip install -q $(1)
# What is not kept is compiled again by every process, and that is half of a service's start.
unexport PYTHONDONTWRITEBYTECODE

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: $(VENV)/.run ## the main job on a real Kafka and Postgres, with a summary and an HTML page (SECURE=1)
	@$(BIN)/python -m deploy.demo $(if $(SECURE),--secure)

up: $(VENV)/.run ## start the stack and keep it running; SECURE=1: TLS, logins and access lists; PROFILE=short: short times; CLOCK=virtual: time that can be moved on
	@set -ae; $(if $(PROFILE),. deploy/local/$(PROFILE).env;) \
	  $(BIN)/python -m deploy.local up $(if $(SECURE),--secure) $(if $(filter virtual,$(CLOCK)),--virtual-clock)

down: $(VENV)/.run ## stop the stack that `make up` started
	@$(BIN)/python -m deploy.local down

test: $(VENV)/.dev ## all tests, on a real Kafka and Postgres started for them (TESTS=path for some, WORKERS=2)
	$(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder $(TESTS)

fuzz: $(VENV)/.dev ## hostile input for everything that reads it (SECONDS=60, or CASES=, and SEED=)
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) $(if $(CASES),--cases $(CASES)) $(if $(SEED),--seed $(SEED))

mutants: $(VENV)/.dev ## put bugs into the code: which do the tests miss (SAMPLE=200, SEED=7, ONLY=path pattern, SCOPE=postgres)
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.mutants $(if $(SAMPLE),--sample $(SAMPLE)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only '$(ONLY)') $(if $(SCOPE),--scope $(SCOPE))

hostile: $(VENV)/.dev ## an honest upstream beside three hostile ones (SECONDS=300, RATE=2000 records/s, SEED=)
	$(BIN)/python -m tests.hostile --seconds $(or $(SECONDS),300) --rate $(or $(RATE),2000) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.dev ## measure against references in the same run (SHORT=1: about two minutes)
	$(BIN)/python -m deploy.bench $(if $(SHORT),--short)

check: $(VENV)/.dev ## lint, types, imports, dependencies, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/python -m schemas --check
	$(BIN)/python -m deploy.configuration_docs --check
	$(BIN)/python -m deploy.metrics_docs --check
	$(BIN)/python -m deploy.accounting_docs --check
	$(BIN)/python -m deploy.demo.generate --check

schemas: $(VENV)/.dev ## regenerate what is generated: JSON Schemas, types, asyncapi.yaml, tables of the docs, demo input
	$(BIN)/python -m schemas
	$(BIN)/python -m deploy.configuration_docs
	$(BIN)/python -m deploy.metrics_docs
	$(BIN)/python -m deploy.accounting_docs
	$(BIN)/python -m deploy.demo.generate

lock: $(VENV)/.dev ## resolve the dependencies again and write both locks, hash-pinned
	$(UV) pip compile -q --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  --python-version 3.11 --extra orders --extra stripe --extra ledger --extra notifier --extra local \
	  pyproject.toml -o requirements.lock
	$(UV) pip compile -q --universal --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  --python-version 3.11 --all-extras -c requirements.lock pyproject.toml -o requirements-dev.lock

clean: ## remove the environment and all state of this checkout (not while a stack is up)
	rm -rf $(VENV) .perennial build
	find schemas services deploy tests -name __pycache__ -prune -exec rm -rf {} +

$(UV): requirements-uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..."; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV) && $(PYTHON) -m venv $(VENV)/uv
	@$(VENV)/uv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@touch $(UV)

$(VENV)/.run: requirements.lock pyproject.toml $(UV)
	@echo "installing what the system needs"
	@$(call install,--require-hashes -r requirements.lock)
	@$(call install,--no-deps --no-build-isolation -e .)
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.run
	@echo "installing what the tests and checks need"
	@$(call install,--require-hashes -r requirements-dev.lock)
	@touch $@
