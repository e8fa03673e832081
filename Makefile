# The one door for people and for CI; `make help` lists what it offers.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# Passed on to the command behind a target: make test ARGS='-k signature'
ARGS ?=
# Test processes; every one beyond the cores only slows the others down.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n > 8 ? 8 : n)))

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PROTOS := $(shell find protos/argy -name '*.proto')

# Everything that a tool keeps between runs stays in the checkout.
CACHE := $(CURDIR)/.argy/cache
export PIP_CACHE_DIR := $(CACHE)/pip
export UV_CACHE_DIR := $(CACHE)/uv
export BUF_CACHE_DIR := $(CACHE)/buf
export HYPOTHESIS_STORAGE_DIRECTORY := $(CACHE)/hypothesis
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# --no-compile: Python compiles what is imported, which is a small part of what is installed.
PIP_INSTALL := $(BIN)/python -m pip install -qq --no-compile
# Wheels only: installing runs no code of a package. What the lock does not name is refused.
INSTALL_LOCKED := $(PIP_INSTALL) --only-binary :all: --require-hashes

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- environment -------------------------------------------------------------------------------------

$(STAMPS)/run: requirements.txt requirements-build.txt
	@test -x $(BIN)/pip || { \
	  echo "Installing Argy into $(VENV)/ (once; about half a minute)"; \
	  python=$$(.ci/find-python); "$$python" -m venv $(VENV); }
	@$(INSTALL_LOCKED) -r requirements.txt -r requirements-build.txt
	@mkdir -p $(@D) && touch $@

$(STAMPS)/dev: requirements-dev.txt $(STAMPS)/run
	@$(INSTALL_LOCKED) -r requirements-dev.txt
	@touch $@

# Links the source roots into the environment; the build hook generates protos/gen. When nothing but a
# contract changed, generating is enough. The folders are listed so that a removed file counts too.
$(STAMPS)/linked: $(STAMPS)/run pyproject.toml protos/hatch_build.py $(PROTOS) $(sort $(dir $(PROTOS)))
	@if [ -n "$(filter-out protos/argy/%,$?)" ] || [ ! -d protos/gen/argy ]; then \
	  $(PIP_INSTALL) --no-deps --no-build-isolation -e .; \
	else \
	  $(BIN)/python protos/hatch_build.py; \
	fi
	@touch $@

ifeq ($(wildcard protos/gen/argy),)
.PHONY: $(STAMPS)/linked
endif

.PHONY: venv
venv: $(STAMPS)/linked $(STAMPS)/dev ## Make or refresh .venv: locked dependencies, generated code, tools

.PHONY: system-deps
system-deps: ## Install the Debian packages for which no wheel exists (nothing, if all are there)
	@.ci/system-deps

# uv does not read pip's configuration: a mirror that is configured for pip is handed over.
.PHONY: lock
lock: $(STAMPS)/dev ## Write the hash-pinned requirements files anew (ARGS=--upgrade takes newer versions)
	@index=$${UV_DEFAULT_INDEX:-$$($(BIN)/pip config get global.index-url 2>/dev/null || true)}; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	lock() { $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-emit-find-links --no-header $(ARGS) "$$@"; }; \
	lock pyproject.toml --extra local -o requirements.txt; \
	lock --group pyproject.toml:dev -c requirements.txt -o requirements-dev.txt; \
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
	  lock - -c requirements.txt -o requirements-build.txt

# --- running -----------------------------------------------------------------------------------------

.PHONY: up
up: $(STAMPS)/linked ## Start the whole platform here and show it at work; Ctrl-C stops it
	@exec $(BIN)/argy up $(ARGS)

.PHONY: test
test: venv ## Run every test that CI runs
	@.ci/with-browser $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: bench
bench: venv ## Measure the budgets
	@exec $(BIN)/python tests/bench/run.py $(ARGS)

.PHONY: equivalence
equivalence: venv ## Hold the policy engine to pycasbin at length
	@exec $(BIN)/python -m argy.policy.equivalence $(ARGS)

# --- checking ----------------------------------------------------------------------------------------

.PHONY: check
check: check-style check-types check-imports check-protos check-migrations check-policy check-secrets check-shell ## Everything that CI checks before the tests

.PHONY: check-style
check-style: venv ## Formatting and lint rules (ruff)
	@$(BIN)/ruff format --check --quiet --diff
	@$(BIN)/ruff check --quiet

.PHONY: check-types
check-types: venv ## Types (mypy, strict)
	@$(BIN)/mypy

.PHONY: check-imports
check-imports: venv ## Who may import whom (import-linter)
	@$(BIN)/lint-imports --no-logo --cache-dir $(CACHE)/import-linter

.PHONY: check-protos
check-protos: venv ## The contracts: lint, format, breaking changes, generated code
	@$(BIN)/buf lint
	@$(BIN)/buf format -d --exit-code
	@.ci/check-breaking $(BIN)/buf
	@$(BIN)/python protos/hatch_build.py --check

.PHONY: check-migrations
check-migrations: venv ## The migrations: locks and unsafe steps (squawk)
	@.ci/check-migrations $(BIN)/squawk

.PHONY: check-policy
check-policy: venv ## The policy: its form, its mistakes, what must always hold
	@$(BIN)/argy policy fmt --check
	@$(BIN)/argy policy lint --strict
	@$(BIN)/argy policy invariants

.PHONY: check-secrets
check-secrets: venv ## Credentials in tracked files (detect-secrets, offline)
	@.ci/check-secrets $(BIN)

.PHONY: check-shell
check-shell: ## Shell syntax
	@git grep -lzE --untracked '^#!.*\b(ba)?sh\b' | xargs -0 -n 1 bash -n

.PHONY: format
format: venv ## Format code and contracts, mend what ruff can mend
	@$(BIN)/ruff check --quiet --fix-only
	@$(BIN)/ruff format --quiet
	@$(BIN)/buf format -w

.PHONY: clean
clean: ## Remove .venv, generated code and caches; the data of make up stays
	@rm -rf $(VENV) protos/gen $(CACHE) dist
	@find services agentd protos tests -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
