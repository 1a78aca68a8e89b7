# Everything runs from one virtual environment, made here from the lock. Needs Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
STAMP := $(VENV)/.synced
# How many processes share the tests out, 0 for one that does all: tests wait for servers half of their time.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')
SHARED := -n $(WORKERS)
# Where Python may not keep what it has compiled, every process that a test starts compiles everything again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup up demo test unit contract integration scenarios interop slow e2e chaos fuzz truth mutants bench lint types schemas release docs sbom audit clean

help: ## List the targets
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(STAMP) ## Make the virtual environment and fetch Kafka, the schema registry and ClickHouse
	@$(RUN)/python -m libs.devstack fetch

$(STAMP): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Voltbus needs Python 3.11 or newer; set PYTHON=...")'
	@test -x $(RUN)/python || { echo "setup: creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@test -x $(RUN)/uv || { echo "setup: installing uv"; \
	  $(RUN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/containers/installer.txt; }
	@echo "setup: installing the locked packages"
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(RUN)/uv sync --locked --quiet --python $(RUN)/python
	@touch $@

up: setup ## Run the whole platform in the foreground, with data kept in .voltbus/
	@$(RUN)/python -m deploy.local up

demo: setup ## Run the main job end to end on a stack of its own and check the figures
	@$(RUN)/python -m deploy.local demo

test: setup ## Run every test but those that take minutes each (slow, chaos, e2e, fuzz, truth)
	@$(RUN)/pytest $(SHARED)

unit: $(STAMP) ## Tests without I/O
	@$(RUN)/pytest $(SHARED) tests/unit

contract: $(STAMP) ## Tests of schemas, examples and topic files
	@$(RUN)/pytest tests/contract

integration: setup ## Tests against real Kafka, registry and ClickHouse
	@$(RUN)/pytest $(SHARED) tests/integration

scenarios: setup ## What a central system must do, case by case, from a charger's socket
	@$(RUN)/pytest tests/scenarios

interop: setup ## Chargers on other people's OCPP libraries (npm, Go, Java, Python)
	@VOLTBUS_INTEROP=all $(RUN)/pytest tests/interop -v --durations=20

slow: setup ## Slow tests that are in neither chaos nor e2e
	@$(RUN)/pytest --ignore tests/e2e -m "slow and not chaos"

e2e: setup ## Tests of the whole platform, also the slow ones
	@$(RUN)/pytest tests/e2e -m "slow or not slow"

chaos: setup ## Kill tests, ten rounds each, also of single parts
	@VOLTBUS_CHAOS_ROUNDS=$${VOLTBUS_CHAOS_ROUNDS:-10} $(RUN)/pytest tests -m chaos

fuzz: $(STAMP) ## Fuzz the frame parser for VOLTBUS_FUZZ_SECONDS (300), and OCPP's property tests at length
	@VOLTBUS_NEW_CASES=1 VOLTBUS_HOSTILE_EVENTS=10000 VOLTBUS_FUZZ_SECONDS=$${VOLTBUS_FUZZ_SECONDS:-300} \
	  $(RUN)/pytest tests/contract/test_bounds.py tests/unit/ocpp/test_frame_fuzz.py \
	  tests/unit/ocpp/test_rpc_model.py tests/unit/ocpp/test_rpc_model_lossy.py tests/unit/ocpp/test_actions_property.py tests/unit/events tests/contract/test_hostile_calls.py

truth: $(STAMP) ## Sessions against their truth: VOLTBUS_TRUTH_EXAMPLES (200000) random stations for each property
	@VOLTBUS_NEW_CASES=1 VOLTBUS_TRUTH_EXAMPLES=$${VOLTBUS_TRUTH_EXAMPLES:-200000} $(RUN)/pytest tests/unit/sessions/test_truth.py \
	  tests/unit/sessions/test_truth_liars.py tests/unit/sessions/test_truth_machine.py

mutants: $(STAMP) ## Change domains bit by bit and show what no unit test notices; ONLY=services/plans for one
	@VIRTUAL_ENV=$(CURDIR)/$(VENV) $(RUN)/uv sync --locked --quiet --inexact --group mutants --python $(RUN)/python
	@$(RUN)/python -m deploy.mutants $(ONLY)

bench: setup ## Print the benchmark tables
	@$(RUN)/python -m benchmarks

lint: $(STAMP) ## Style and import boundaries
	@$(RUN)/ruff check . && $(RUN)/ruff format --check . && $(RUN)/lint-imports

types: $(STAMP) ## Strict type check
	@$(RUN)/mypy

schemas: setup ## Check that the schemas can follow those of the last release
	@$(RUN)/pytest tests/contract tests/integration/test_contract_registry.py

release: $(STAMP) ## Keep contract and states under the version in pyproject.toml, to compare later ones with
	@$(RUN)/python -m deploy.release && $(RUN)/python -m tests.unit.states.golden

docs: $(STAMP) ## Write the generated parts of the documentation
	@$(RUN)/python -m deploy.documentation && $(RUN)/python -m deploy.ocpp_documentation
	@$(RUN)/python -m tests.scenarios.document && $(RUN)/python -m tests.unit.sessions.document

sbom: $(STAMP) ## Write dist/sbom.json (CycloneDX): what the image and the embedded servers are made of
	@$(RUN)/python -m deploy.supply sbom

audit: $(STAMP) ## Ask osv.dev about every locked package, Java archive and ClickHouse
	@$(RUN)/python -m deploy.supply audit

clean: ## Remove the virtual environment and the local data, keep the downloads
	@rm -rf $(VENV) .voltbus
