#!/usr/bin/env bash
# What only a GPU can show, in six minutes on one GPU: tests, search, embedding, scoring, NCCL.
#
#   bash launch/gpu-check.sh --gather WHEELS      where there is a network: fetches what may be missing
#   bash launch/gpu-check.sh [WHEELS [PART …]]    on the GPU machine, which needs no network
#
# The GPU machine has its own Python with PyTorch and transformers; PYTHON=… names one that is not
# `python3`. Nothing is changed there: the wheels go into a temporary folder, not into a virtual
# environment, because inside another one that would lose sight of PyTorch.
set -euo pipefail

# What the parts import beside what comes with PyTorch, transformers, accelerate and pytest.
needed=(annotated-types bm25s datasets dill ir-measures multiprocess pydantic pydantic-core
  PyStemmer pytrec-eval-terrier typing-inspection xxhash)

if [ "${1:-}" = --gather ]; then
  folder=$(mkdir -p "${2:?a folder for the wheels}" && cd "$2" && pwd)
  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  "${PYTHON:-python3}" -m pip download --quiet --no-deps --only-binary=:all: \
    --python-version "${PYTHON_VERSION:-3.12}" --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
    -c constraints.txt -d "$folder" "${needed[@]}"
  # The project's own: what runs is this folder, but a run notes the version that is installed.
  "${PYTHON:-python3}" -m pip wheel --quiet --no-deps -w "$folder" .
  exit
fi

wheels=
if [ $# -gt 0 ]; then
  wheels=$(cd "$1" && pwd)
  shift
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
if [ -n "$wheels" ]; then
  site=$(mktemp -d)
  trap 'rm -rf "$site"' EXIT
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
    --target "$site" "$wheels"/*.whl
  export PYTHONPATH="$PWD:$site${PYTHONPATH:+:$PYTHONPATH}"
fi
"$python" tests/benchmarks/gpu_check.py "$@"
