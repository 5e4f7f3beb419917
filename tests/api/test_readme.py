"""The Python of the README, run as it stands there but on tiny models."""

from __future__ import annotations

import re

from readme_python import readme_python

import art


def test_the_readmes_python_runs(
    corpus, tiny_bert, tiny_llama, tmp_path, monkeypatch, capsys
) -> None:
    code = readme_python(tiny_bert, tiny_llama)
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
