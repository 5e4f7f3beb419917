"""The Python of the README as somebody runs it: a script without `if __name__ == "__main__":`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from readme_python import readme_python

_TIMEOUT_SECONDS = 300  # a script that hangs would never end
_DATA = """
texts = [f"{{word}} river number {{n}} ." for n, word in enumerate({words!r} * 1500)]
passages = [{{"id": f"p{{n}}", "title": "moon", "text": text}} for n, text in enumerate(texts)]
questions = [f"what is {{text}} ?" for text in texts[:64]]
labelled = [{{"question": texts[7], "positive_passage_ids": ["p7"]}}]
assert len(passages) == 3000
"""


@pytest.mark.parametrize("way", ["file", "standard input"])
def test_the_readmes_python_ends_as_a_plain_script(
    way: str, corpus, tiny_bert: Path, tiny_llama: Path, tmp_path: Path
) -> None:
    words = corpus[0][2].split()[:2]
    script = tmp_path / "script.py"
    script.write_text(_DATA.format(words=words) + readme_python(tiny_bert, tiny_llama))
    environment = os.environ | {"ART_CACHE": str(tmp_path / "cache")}
    environment.pop("TOKENIZERS_PARALLELISM", None)
    with open(script) as text:
        done = subprocess.run(
            [sys.executable, str(script) if way == "file" else "-"],
            stdin=subprocess.DEVNULL if way == "file" else text,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            timeout=_TIMEOUT_SECONDS,
        )
    assert done.returncode == 0, done.stderr
    assert "'top_100':" in done.stdout.splitlines()[-1]
