"""A good file of every kind that is read, how it is read, and how its rows are counted."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import row_counts
from tiny_bert import save_tiny_bert

from art.data.distinct import distinct_passages
from art.data.documents import Skipped, read_documents
from art.data.formats import (
    Passage,
    read_passages,
    read_qrels,
    read_questions,
    read_run,
    read_supervised,
)
from art.data.passages import PassageStore
from art.data.rows import BadRows
from art.data.splitting import document_passages
from art.data.tokens import TokenStore
from art.retriever.embedding import embed_passages
from art.retriever.index import Index
from art.retriever.loading import create_retriever, load_retriever
from art.teacher.score_log import ScoreLog
from art.training.settings import read_config

_FINGERPRINT = "0" * 32

Read = Callable[[Path, BadRows | None], int]


@dataclass(frozen=True)
class RowFile:
    """A kind of file whose rows are counted.

    Attributes:
        name: of the file.
        sample: a good one.
        read: returns how many rows it found.
        count: how many there are, good or bad.
    """

    name: str
    sample: bytes
    read: Read
    count: Callable[[bytes], int]


@dataclass(frozen=True)
class Whole:
    """A file, or a folder of files, that is good or not.

    Attributes:
        name: of the file, or of the folder.
        files: contents by path below the folder; one under "" for a plain file.
        read: reads all of it.
    """

    name: str
    files: dict[str, bytes]
    read: Callable[[Path], object]


class Fault(AssertionError):
    """A complaint that does not say enough, or rows that got lost."""


def row_files() -> list[RowFile]:
    """Return every kind of file of rows, a good one of each."""
    passages = [
        {"id": f"p{i}", "title": "" if i % 3 else f"Title {i}", "text": f'the "moon", {i} of é\t|'}
        for i in range(6)
    ]
    answered = [(f"who built {i} ?", ["it's", 'the "one"', "x"][: i % 3 + 1]) for i in range(6)]
    asked = [
        {"id": f"q{i}", "question": f"who is {i}?", "answers": ["a"], "positive_passage_ids": ["p"]}
        for i in range(6)
    ]
    ranked = [
        {"id": f"q{i}", "ctxs": [{"id": f"p{k}", "score": str(9.5 - k)} for k in range(3)]}
        for i in range(4)
    ]
    scores = {f"q{i}": {f"p{k}": 9.5 - k for k in range(3)} for i in range(4)}
    labelled = [
        {"question": f"who {i}?", "answers": ["é"], "positive_ctxs": [{"text": f"moon {i}"}]}
        for i in range(6)
    ]
    pairs = b"query_text\tgold_passage\thard_negative\n"
    pairs += b"".join(b'who %d?\t"the ""moon"",\n %d"\tsun\n' % (i, i) for i in range(6))
    trec = b"".join(
        b"q%d Q0 p%d %d %.1f art\n" % (i, k, k, 9.5 - k) for i in (1, 2) for k in (1, 2)
    )
    beir = b"query-id\tcorpus-id\tscore\n" + b"".join(b"q%d\tp%d\t1\n" % (i, i) for i in range(6))
    plain = b"".join(b'%d\tthe "moon" of %d\n' % (i, i) for i in range(6))
    lines, csv_rows = row_counts.num_lines, row_counts.num_csv_rows
    return [
        RowFile("passages.tsv", _table(passages), _num_passages, row_counts.num_passages),
        RowFile("collection.tsv", plain, _num_passages, row_counts.num_passages),
        RowFile("passages.jsonl", _json_lines(passages), _num_passages, lines),
        RowFile("passages.jsonl.gz", _json_lines(passages), _num_passages, lines),
        RowFile("distinct.jsonl", _json_lines(passages), _num_distinct, lines),
        RowFile(
            "questions.txt", b"who?\n\nwhat is it?\r\nwhere\n", _num_questions, row_counts.num_asked
        ),
        RowFile("questions.csv", _csv(answered), _num_questions, csv_rows),
        RowFile("questions.tsv", _csv(answered), _num_questions, row_counts.num_questions),
        RowFile("queries.tsv", plain, _num_questions, row_counts.num_questions),
        RowFile("questions.jsonl", _json_lines(asked), _num_questions, lines),
        RowFile("questions.json", _listed(asked), _num_questions, row_counts.num_examples),
        RowFile("qrels.tsv", beir, _num_judgements, row_counts.num_judgements),
        RowFile("qrels.txt", b"a 0 p 1\nb 0 p 0\nb 0 q 2\n", _num_judgements, lines),
        RowFile("run.trec", trec, _num_hits, lines),
        RowFile("run.tsv", b"q1\tp1\t1\nq1\tp2\t2\nq2\tp1\t1\n", _num_hits, lines),
        RowFile("run.jsonl", _json_lines(ranked), _num_ranked, lines),
        RowFile("run.json", _listed(ranked), _num_ranked, row_counts.num_members),
        RowFile("scores.json", json.dumps(scores).encode(), _num_ranked, row_counts.num_members),
        RowFile("labelled.jsonl", _json_lines(labelled), _num_examples, row_counts.num_examples),
        RowFile("labelled.jsonl.gz", _json_lines(labelled), _num_examples, row_counts.num_examples),
        RowFile("labelled.json", _listed(labelled), _num_examples, row_counts.num_examples),
        RowFile("labelled.tsv", pairs, _num_examples, row_counts.num_below_header),
        RowFile("documents.jsonl", _json_lines(passages), _num_documents, lines),
    ]


def _table(rows: list[dict[str, str]]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, ["id", "text", "title"], delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def _csv(rows: list[tuple[str, list[str]]]) -> bytes:
    file = io.StringIO()
    csv.writer(file, delimiter="\t", lineterminator="\n").writerows(rows)
    return file.getvalue().encode()


def _json_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _listed(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows).encode()


def _num_passages(path: Path, bad_rows: BadRows | None) -> int:
    return sum(1 for _ in read_passages(path, bad_rows))


def _num_distinct(path: Path, bad_rows: BadRows | None) -> int:
    return sum(1 for _ in distinct_passages(path, bad_rows))


# Where there is none at all, that is a complaint about the file; all rows were listed all the same.
def _num_questions(path: Path, bad_rows: BadRows | None) -> int:
    return len(read_questions(path, bad_rows))


def _num_judgements(path: Path, bad_rows: BadRows | None) -> int:
    return sum(map(len, read_qrels(path, bad_rows).values()))


def _num_hits(path: Path, bad_rows: BadRows | None) -> int:
    return sum(map(len, read_run(path, bad_rows).passage_ids))


def _num_ranked(path: Path, bad_rows: BadRows | None) -> int:
    return len(read_run(path, bad_rows).question_ids)


def _num_examples(path: Path, bad_rows: BadRows | None) -> int:
    return sum(1 for _ in read_supervised(path, bad_rows))


def _num_documents(path: Path, bad_rows: BadRows | None) -> int:
    return sum(1 for one in read_documents(path, Skipped(), bad_rows=bad_rows) if [*one.lines, 1])


_MARKDOWN = b"""---
title: Guide
---
# Guide

Some *text*, a [link](https://a.b/c "t") and `code`.

- one
- **two**

| a | b |
|---|---|
| 1 | 2 |

```python
x = a[0](1)
```
<!-- hidden --> <b>end</b> &amp; [^1] ~~old~~
"""
_HTML = b"""<!doctype html><html><head><title>T &amp; U</title><style>p { }</style></head>
<body><nav><a>Home</a></nav><h1>Install</h1><p>First<br>second.<script>if (a < b) x();</script>
<table><tr><td>x<td>y</table><!-- no --><ul><li>a<li>b</ul></body></html>
"""
_CONFIG = b"""# settings
data:
  passages: p.tsv
  questions: [a.txt, "b.txt"]
retriever: {model: m, temperature: auto, tied: false}
teacher:
  model: 'pip:x'
  passage_prompt: "Passage: {passage} ."
training:
  learning_rate: 2.0e-5
  top_k: 8
evaluation: {top_k: [1, 5]}
output: {folder: runs/x}
"""


def other_files() -> list[Whole]:
    """Return documents, settings and a log of scores."""
    log = b"ART score log 1\n" + _FINGERPRINT.encode()
    log += np.array([(1, -1.5), (2, -2.5)], dtype=[("hash", "<u8"), ("score", "<f4")]).tobytes()
    documents = {
        "guide.md": _MARKDOWN,
        "page.html": _HTML,
        "notes.txt": b"One. Two.\n\nThree \xc3\xa9.\n",
    }
    return [
        *(Whole(name, {"": contents}, _split) for name, contents in documents.items()),
        Whole("guide.md.gz", {"": gzip.compress(_MARKDOWN, mtime=0)}, _split),
        Whole("settings.yaml", {"": _CONFIG}, read_config),
        Whole("scores.log", {"": log}, lambda path: ScoreLog(path, fingerprint=_FINGERPRINT)),
    ]


def _split(path: Path) -> None:
    for document in read_documents(path, Skipped()):
        found = [passage.text for passage in document_passages(document)]
        if path.suffix == ".txt":
            written = path.read_text("utf-8-sig").split()
            if "".join("".join(found).split()) != "".join(written):
                raise Fault("words of the document are not in its passages")


def model_folders(folder: Path) -> list[Whole]:
    """Build a store, a retriever and an index; return them as files to be broken."""
    words = "the moon of a river stone bridge".split()
    bert = save_tiny_bert(folder / "bert", words)
    retriever = create_retriever(
        str(bert), passage_length=32, question_length=16, projection_size=8
    )
    retriever.save(folder / "retriever")
    passages = [Passage(f"p{i}", "", " ".join(words[i % 5 :])) for i in range(12)]
    store = PassageStore.build(passages, folder / "store", source="here", progress=False)
    tokens = TokenStore.open_or_build(
        store, retriever.passage_template, cache=folder, progress=False
    )
    embed_passages(retriever, tokens, folder / "index", store=store, shard_rows=5, progress=False)
    vectors = retriever.embed_questions(["moon"])
    return [
        Whole("retriever", _contents(folder / "retriever"), load_retriever),
        Whole("store", _contents(folder / "store"), lambda path: list(PassageStore.open(path))),
        Whole("index", _contents(folder / "index"), lambda path: _search(path, vectors)),
    ]


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def _search(path: Path, vectors: np.ndarray) -> None:
    index = Index.open(path)
    index.search(vectors, 4)
    index.vectors([0, 11])
