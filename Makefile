# Needs Python >= 3.11 and make, nothing else. `make demo` shows it all, `make test` proves it.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
COMPILE := uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' pyproject.toml
unexport PYTHONDONTWRITEBYTECODE # each of many processes would compile all it imports anew: seconds

# The output of each part of `make test` comes in one piece, where make can do so (GNU make 4).
WHOLE := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
# Test processes with a Kafka each: they wait more than they compute.
KAFKAS := 2

.PHONY: help demo up test lint unit bench chaos lock format clean test-quick test-kafka

help: ## What can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1|/' | column -t -s '|'

$(VENV)/ready: locks/dev.txt pyproject.toml hatch_build.py $(wildcard */*.pyx */*/*.pyx */*/*.pxd)
	@test -n "$(PYTHON)" || { echo "Kounter needs Python 3.11 or newer on the PATH"; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) -r locks/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c 'from schemas.codec.compiled import native; native or print("the parts in C are not built, all is done in Python, at a third more CPU: a C compiler or Python headers (python3-dev) are missing; then make clean, and again")'
	@touch $@

$(VENV)/peers: $(VENV)/ready locks/peers.txt
	@$(PIP) -r locks/peers.txt
	@touch $@

demo: $(VENV)/ready ## The whole way of a record, live; ONCE=1: without a terminal, ends by itself
	@$(BIN)/kounter demo $(if $(ONCE),--once)

up: $(VENV)/ready ## Kafka, registry, worker, delivery, gateway and the twins, until Ctrl-C
	@$(BIN)/kounter up --twins

lint: $(VENV)/ready ## Style, types, the direction of dependencies
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

test: $(VENV)/ready ## All tests, on a real Kafka and registry
	@$(MAKE) --no-print-directory -j2 $(WHOLE) test-kafka test-quick

test-quick: lint # beside the other half, which waits more than it computes
	@$(BIN)/python -m pytest -rs -m "not (integration or chaos)"

test-kafka: $(VENV)/ready # tests/conftest.py sees to it that this leaves nothing out
	@$(BIN)/python -m pytest --numprocesses $(KAFKAS) --dist loadgroup -m "integration or chaos" --ignore tests/unit

unit: $(VENV)/ready ## The tests that need no Kafka
	@$(BIN)/python -m pytest tests/unit tests/contract -m "not integration"

bench: $(VENV)/ready $(VENV)/peers ## Speed, beside peers in one run (QUICK=1; PART=portal, gateway, domofon, estate, feed)
	@$(BIN)/python -m bench$(if $(PART),.$(PART)) $(if $(QUICK),--quick)

chaos: $(VENV)/ready ## Faults in full flow, then all compared with a reference (PART=delivery, PART=domofon, PART=estate, BROKERS=3)
	@$(BIN)/python -m tests.chaos$(if $(PART),.$(PART)) $(if $(BROKERS),--brokers $(BROKERS))

format: $(VENV)/ready ## Mend style
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

lock: ## Pin all dependencies anew, with hashes (needs uv)
	rm -f locks/*.txt
	$(COMPILE) --group dev --extra peers -o locks/peers.txt
	$(COMPILE) --group dev -c locks/peers.txt -o locks/dev.txt
	$(COMPILE) -c locks/peers.txt -o locks/run.txt

clean: ## Forget the virtual environment and caches; data stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
