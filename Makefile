# One place for the chores. `make help` lists them; every one of them sets up what it needs itself.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
STAMP := $(VENV)/.installed
DEMO_OUT ?= runs/demo
UPGRADE ?=
SHELL := /bin/bash
.SHELLFLAGS := -u -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
# Without bytecode every process that imports NeMo compiles it anew, for five seconds.
unexport PYTHONDONTWRITEBYTECODE

# $(call step,name,command): run the command and say how many seconds it took.
define step
@echo "== $(1)"; began=$$SECONDS; $(2); code=$$?; \
if [ $$code -eq 0 ]; then echo "== $(1): $$((SECONDS - began)) s"; \
else echo "== $(1): failed after $$((SECONDS - began)) s"; exit $$code; fi
endef

.PHONY: help setup demo test lint lock clean

help: ## List what can be made.
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s  %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## Make .venv from requirements.lock: 2 to 3 minutes the first time, then nothing.

# torch comes first and with its own dependencies, so that each machine takes its own build of it (CPU or
# CUDA). The rest of the lock is complete, and installed as it stands: pip would refuse its overrides.
$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed and '$(PYTHON)' is not on the \
	PATH; install it or name yours: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "'$(PYTHON)' is not \
	Python 3.11, the one version that the lock is for" >&2; exit 1; }
	$(call step,setup: virtual environment,$(PYTHON) -m venv $(VENV))
	$(call step,setup: torch,$(PIP) install --no-compile -c requirements.lock torch)
	$(call step,setup: lock,$(PIP) install --no-compile --no-deps -r requirements.lock)
	$(call step,setup: bionemo-ext,$(PIP) install --no-deps --no-build-isolation -e .)
	@touch $@

demo: setup ## Pretrain, fine-tune, export, serve and query on real proteins; a report at the end.
	$(call step,demo,$(BIN)/bionemo-ext demo --out $(DEMO_OUT))

lint: setup ## Style, and the layers of docs/architecture.md.
	$(call step,ruff check,$(BIN)/ruff check .)
	$(call step,ruff format,$(BIN)/ruff format --check .)
	$(call step,import layers,$(BIN)/lint-imports)

test: lint ## Lint and every test that needs neither a GPU nor patience.
	$(call step,tests,OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not gpu")

lock: setup ## Compile requirements.lock anew; UPGRADE=--upgrade takes the newest versions.
	$(call step,uv,$(PIP) install --upgrade --target $(VENV)/uv uv)
	$(call step,lock,.ci/lock $(VENV)/uv/bin/uv $(UPGRADE))

clean: ## Remove the environment and caches; runs/ stays.
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find bionemo_ext tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
