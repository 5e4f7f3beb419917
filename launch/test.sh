#!/usr/bin/env bash
# Linters and tests; words after the command go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh test
bin=.venv/bin
$bin/ruff check .
$bin/ruff format --check .
$bin/mypy
$bin/lint-imports
# Where compiled modules are not kept, each of the processes that tests start compiles torch anew.
export PYTHONDONTWRITEBYTECODE=
# Two workers with one thread each beat one worker with two on the many tiny models of the tests.
export OMP_NUM_THREADS=1
$bin/pytest -n 2 --dist loadscope "$@"
