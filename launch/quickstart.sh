#!/usr/bin/env bash
# From nothing to a trained retriever: makes .venv, installs, runs the demonstration.
# Words after the command go to `art demo`.
set -euo pipefail
cd "$(dirname "$0")/.."
bash launch/install.sh cpu gguf
exec .venv/bin/art demo "$@"
