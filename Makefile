# The commands which people rely on. `make` alone lists them.
# They need Python 3.11 (or newer), git and make: no service, no root, no token.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help demo serve test convert convert-tensorflow lint schema benchmarks clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 22

demo: $(VENV)/.demo  ## push, compress, measure, fit, pull: the main job on real digits, then keep serving
	@$(BIN)/python manage.py demo

serve: $(VENV)/.base  ## start the hub: web, workers and sweeper in the foreground
	@exec $(BIN)/python manage.py run

test: $(VENV)/.test  ## lint, types, contracts, schema, and the whole suite; needs no service
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh tests/check.sh

convert: $(VENV)/.convert  ## add what turns transformers folders into ONNX (torch for the processor, transformers)

convert-tensorflow: $(VENV)/.tensorflow  ## add what turns Keras, SavedModel and TFLite models into ONNX

lint: $(VENV)/.test  ## format and lint
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

schema: $(VENV)/.test  ## write docs/openapi.yaml anew
	@$(BIN)/python manage.py spectacular --file docs/openapi.yaml

benchmarks: $(VENV)/.test  ## print FitHub's own figures beside yardsticks
	@$(BIN)/python -m tests.benchmarks

clean:  ## remove the environment; data stays
	rm -rf $(VENV)

# --- environments: one stamp a set of packages, made anew when pyproject.toml changes ---------------------------
$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it, or say PYTHON=/path/to/python3"; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11: say PYTHON=..."; exit 1; }
	@echo "making $(VENV) (once) ..."
	@"$(PYTHON)" -m venv $(VENV)

$(VENV)/.base: pyproject.toml | $(BIN)/python
	@echo "installing packages (once) ..."
	@$(PIP) .
	@rm -rf build *.egg-info && touch $@

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "installing packages (once) ..."
	@$(PIP) '.[demo]'
	@rm -rf build *.egg-info && touch $@ $(VENV)/.base

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "installing packages (once) ..."
	@$(PIP) '.[test]'
	@rm -rf build *.egg-info && touch $@ $(VENV)/.base $(VENV)/.demo

$(VENV)/.tensorflow: pyproject.toml | $(VENV)/.base
	@echo "installing TensorFlow for the processor, then tf2onnx (once) ..."
	@$(PIP) '.[tensorflow]'
	@rm -rf build *.egg-info && touch $@

$(VENV)/.convert: pyproject.toml | $(VENV)/.base
	@echo "installing torch for the processor, then transformers (once) ..."
	@$(PIP) torch==2.13.0
	@$(PIP) '.[convert]'
	@rm -rf build *.egg-info && touch $@
