#!/bin/sh
# All checks which need no service: what `make test` runs. Stops at the first which fails.
set -eu
cd "$(dirname "$0")/.."
step() { printf '\n== %s\n' "$*"; }

FITHUB_DATA="$(mktemp -d)"; export FITHUB_DATA
trap 'rm -rf "$FITHUB_DATA"' EXIT

step lint
bash -n .ci/run
ruff check .
ruff format --check .
step types
mypy hub models_registry compression_service
step import contracts
lint-imports
step system checks
python manage.py check --fail-level WARNING
step migrations check
python manage.py makemigrations --check --dry-run
step OpenAPI snapshot
python manage.py spectacular --file "$FITHUB_DATA/openapi.yaml" --fail-on-warn
diff -u docs/openapi.yaml "$FITHUB_DATA/openapi.yaml" || { echo "The API changed: run 'make schema' and commit docs/openapi.yaml"; exit 1; }
step tests
python -m pytest tests -n "${FITHUB_TEST_PROCESSES:-2}" --dist worksteal -q -m "not live" "$@"
