# rewards-mesh. Needs Python 3.11+ and make; everything else comes from the lock file, but the browser of the tests.

PYTHON ?= python3
BIN := .venv/bin
UV_VERSION := 0.13.8
PACKAGES := svckit k8s identity_svc ledger_svc catalog_svc fulfillment_svc gateway devmesh tests bench conftest.py protos/generate.py
STAMP := .venv/.synced
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/\1|\2/' | awk -F'|' '{printf "  %-14s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml uv.lock
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv sync --quiet --locked --inexact
	@touch $@

setup: $(STAMP) protos ## Install everything into .venv and generate the code

protos: $(STAMP) ## Generate code and descriptors into protos/gen
	@$(BIN)/python protos/generate.py

proto-freeze: protos ## Freeze the protos: from now on they may not break what they are now
	@$(BIN)/buf build protos/gen/descriptors.binpb --exclude-source-info -o protos/frozen.binpb

api-freeze: setup ## Freeze v1's JSON as it is now: a test holds it, so that a change of it is a deliberate act
	@$(BIN)/python -m gateway.openapi --freeze protos/v1.shapes

fmt: setup ## Format the code and the protos
	@$(BIN)/ruff format $(PACKAGES)
	@$(BIN)/ruff check --fix --exit-zero --quiet $(PACKAGES)
	@cd protos && buf format -w .

lint: setup ## Check style and format
	@$(BIN)/ruff format --check $(PACKAGES)
	@$(BIN)/ruff check $(PACKAGES)

types: setup ## Check types
	@$(BIN)/mypy $(PACKAGES)

proto-check: protos ## Check the protos: format, lint, and nothing broken since the freeze
	@cd protos && buf format --diff --exit-code .
	@cd protos && buf lint gen/descriptors.binpb --config buf.yaml --path rewards
	@cd protos && buf breaking gen/descriptors.binpb --against frozen.binpb --config buf.yaml --path rewards

openapi: setup ## Write the OpenAPI document of the REST surface to openapi.json
	@$(BIN)/python -m gateway.openapi --out openapi.json

browser: ## Install Chromium, which the tests of the hosted page drive, where there is none
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
	  test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; } || { \
	  echo "The tests of the hosted page need Chromium: install it (Debian: sudo apt-get install chromium), then go on." >&2; exit 1; }

test: setup browser ## Run every test, on two workers
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

check: lint types proto-check test ## What CI runs

torture: setup ## Run the long properties and fault sweeps of ledger and redemptions in full, on two workers, and the search for what is not documented
	@REWARDS_TORTURE=1 $(BIN)/pytest -n 2 --maxschedchunk 1 ledger_svc fulfillment_svc/tests tests/mesh/test_schemathesis.py

demo: setup ## Start a throwaway mesh and show the main job as a partner sees it
	@$(BIN)/python -m devmesh demo

up: setup ## Run a mesh until Ctrl-C: REST on 127.0.0.1:8080, state in .mesh/
	@$(BIN)/python -m devmesh up

bench: setup ## Print the benchmark as ratios and write .bench/latest.json
	@$(BIN)/python -m bench

clean: ## Remove the environment, the generated code and the mesh's state
	rm -rf .venv protos/gen .mesh .bench

.PHONY: help browser setup protos proto-freeze api-freeze fmt lint types proto-check openapi test check torture demo up bench clean
