"""Every command, given something broken: one line, no traceback, and nothing left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml
from command import run


@pytest.fixture(scope="module")
def world(corpus, tiny_bert, tiny_llama, tmp_path_factory) -> Path:
    from art.retriever.loading import create_retriever

    folder = tmp_path_factory.mktemp("world")
    rows = [{"id": name, "title": title, "text": text} for name, title, text in corpus]
    (folder / "passages.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    asked = [{"id": f"q{i}", "question": rows[i]["text"], "answers": ["a"]} for i in range(8)]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, asked)) + "\n")
    (folder / "run.trec").write_text("q0 Q0 p0 1 1.5 t\nq1 Q0 p3 1 1.5 t\n")
    create_retriever(str(tiny_bert), passage_length=64, pooling="mean").save(folder / "retriever")
    shutil.copytree(tiny_llama, folder / "teacher")
    words = ["--retriever", folder / "retriever", "--passages", folder / "passages.jsonl"]
    assert run("embed", *words, "--output", folder / "index", "--cpu") == 0
    settings = {
        "data": {
            "passages": str(folder / "passages.jsonl"),
            "questions": str(folder / "questions.jsonl"),
        },
        "retriever": {"model": str(folder / "retriever")},
        "teacher": {"model": str(folder / "teacher"), "dtype": "float32", "max_length": 256},
        "training": {
            "questions_per_step": 2,
            "questions_per_micro_batch": 2,
            "top_k": 4,
            "max_steps": 1,
            "cpu": True,
        },
        "output": {"folder": str(folder / "never")},
    }
    (folder / "good.yaml").write_text(yaml.safe_dump(settings))
    _break(folder, settings)
    return folder


def _break(folder: Path, settings: dict) -> None:
    """Write broken copies beside the good files."""
    passages, asked = (folder / f"{name}.jsonl" for name in ("passages", "questions"))
    (folder / "cut.jsonl").write_bytes(passages.read_bytes()[:-20])
    (folder / "twice.jsonl").write_text(passages.read_text() + passages.read_text())
    (folder / "latin.jsonl").write_bytes(passages.read_bytes() + b'{"id": "x", "text": "\xe9"}\n')
    (folder / "fake.jsonl.gz").write_bytes(passages.read_bytes())
    (folder / "empty.jsonl").write_text("")
    (folder / "asked.jsonl").write_text(asked.read_text() + '{"question": [[1]]}\n')
    (folder / "nested.jsonl").write_text(asked.read_text() + "[" * 100_000 + "\n")
    (folder / "code.csv").write_text("who?\t__import__('os').getcwd()\n")
    (folder / "broken.trec").write_text("q0 Q0 p0 1 1.5 t\nq0 Q0 p1 2 1e999 t\n")
    (folder / "broken.json").write_text('[{"ctxs": ')
    (folder / "qrels.txt").write_text("q0 0 p0 1\nq1 0 p0 " + "9" * 5000 + "\n")
    (folder / "broken.yaml").write_text("data: {passages: [\n")
    (folder / "unknown.yaml").write_text(yaml.safe_dump(settings | {"dta": {"x": 1}}))
    for name in ("passages", "questions"):
        value = "cut.jsonl" if name == "passages" else "asked.jsonl"
        data = settings["data"] | {name: str(folder / value)}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings | {"data": data}))
    for name, model in (("retriever", "retriever"), ("teacher", "teacher")):
        shutil.copytree(folder / model, folder / f"broken-{name}")
    weights = next((folder / "broken-retriever").rglob("model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    (folder / "broken-teacher" / "config.json").write_text("{" * 5000)
    for name in ("manifest", "shard"):
        shutil.copytree(folder / "index", folder / f"index-{name}")
    (folder / "index-manifest" / "manifest.json").write_text('{"num_passages": "\\ud800"}')
    shard = folder / "index-shard" / "shard-00000.bin"
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x7f")


GOOD = {
    "split": {"--documents": "passages.jsonl", "--output": "OUT.jsonl"},
    "init": {"--passages": "passages.jsonl", "--questions": "questions.jsonl", "--output": "OUT"},
    "ask": {"--model": "teacher", "--passages": "passages.jsonl", "--output": "OUT.jsonl"},
    "train": {"--config": "good.yaml"},
    "embed": {"--retriever": "retriever", "--passages": "passages.jsonl", "--output": "OUT"},
    "search": {
        "--retriever": "retriever",
        "--index": "index",
        "--questions": "questions.jsonl",
        "--output": "OUT.trec",
    },
    "evaluate": {
        "--retriever": "retriever",
        "--index": "index",
        "--questions": "questions.jsonl",
        "--output": "OUT.json",
    },
    "score": {
        "--teacher": "teacher",
        "--passages": "passages.jsonl",
        "--questions": "questions.jsonl",
        "--run": "run.trec",
        "--output": "OUT.json",
    },
    "diagnose": {
        "--teacher": "teacher",
        "--passages": "passages.jsonl",
        "--questions": "questions.jsonl",
        "--retriever": "retriever",
        "--index": "index",
    },
}
PASSAGES = ("cut.jsonl", "twice.jsonl", "latin.jsonl", "fake.jsonl.gz", "empty.jsonl", "no/such")
QUESTIONS = ("asked.jsonl", "nested.jsonl", "code.csv", "empty.jsonl", "x" * 300)
BROKEN = {
    "split": {"--documents": ("cut.jsonl", "latin.jsonl", "fake.jsonl.gz", "empty.jsonl", "no")},
    "init": {"--passages": PASSAGES, "--questions": QUESTIONS},
    "ask": {"--model": ("broken-teacher", "./no"), "--passages": PASSAGES[:1]},
    "train": {"--config": ("broken.yaml", "unknown.yaml", "passages.yaml", "questions.yaml", "no")},
    "embed": {"--retriever": ("broken-retriever", "./no"), "--passages": PASSAGES},
    "search": {
        "--retriever": ("broken-retriever", "./no"),
        "--index": ("index-manifest", "index-shard", "no"),
        "--questions": QUESTIONS,
        "--passages": PASSAGES,
    },
    "evaluate": {
        "--retriever": ("broken-retriever",),
        "--index": ("index-manifest", "index-shard", "no"),
        "--questions": QUESTIONS,
        "--qrels": ("qrels.txt", "empty.jsonl", "no"),
        "--passages": PASSAGES,
    },
    "score": {
        "--teacher": ("broken-teacher", "./no"),
        "--passages": PASSAGES,
        "--questions": QUESTIONS,
        "--run": ("broken.trec", "broken.json", "empty.jsonl", "passages.jsonl", "no.trec"),
    },
    "diagnose": {
        "--teacher": ("broken-teacher", "./no"),
        "--retriever": ("broken-retriever",),
        "--index": ("index-manifest", "index-shard", "no"),
        "--passages": PASSAGES,
        "--questions": QUESTIONS,
        "--config": ("broken.yaml", "unknown.yaml", "questions.yaml"),
    },
}
CASES = [
    (command, option, value)
    for command, options in BROKEN.items()
    for option, values in options.items()
    for value in values
]


def _words(command: str, world: Path, output: Path, **changed: str) -> list[object]:
    options = GOOD[command] | {f"--{name}": value for name, value in changed.items()}
    words: list[object] = [command]
    for name, value in options.items():
        place = output / value if value.startswith("OUT") else world / value
        words += [name, value if value.startswith("./") else place]
    if command == "train":
        words += ["--output.folder", output / "OUT"]
    return [*words, "--cpu"] if command not in ("split", "init", "train") else words


@pytest.mark.parametrize(("command", "option", "value"), CASES)
def test_whatever_is_broken_is_one_line(command, option, value, world, tmp_path, capfd) -> None:
    capfd.readouterr()
    status = run(*_words(command, world, tmp_path, **{option.removeprefix("--"): value}))
    said = capfd.readouterr().err
    assert status == 1
    assert "Traceback" not in said
    # Progress is drawn with returns, and the line begins behind it.
    lines = said.replace("\r", "\n").splitlines()
    (at,) = (i for i, line in enumerate(lines) if line.startswith("error: "))
    # All faults of settings are told, each in a line of its own.
    several = lines[at].endswith("settings are wrong:")
    assert (
        all(line.startswith("  ") for line in lines[at + 1 :]) if several else at + 1 == len(lines)
    )
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert not [name for name in left if not name.endswith((".lock", "config.yaml"))]


@pytest.mark.parametrize("command", GOOD)
def test_a_wrong_use_is_told_with_status_2(command, world, tmp_path, capsys) -> None:
    if command == "train":  # its options are settings
        assert run("train", "--config", world / "good.yaml", "--passages", "many") == 2
    else:
        assert run(command, "--no-such-option") == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said and "Usage: " in said


@pytest.mark.parametrize("command", ["embed", "search", "evaluate", "score", "split", "train"])
def test_bad_rows_are_skipped_where_that_is_asked(command, world, tmp_path, capfd) -> None:
    changed = {
        "split": {"documents": "latin.jsonl"},
        "train": {"config": "questions.yaml"},
        "embed": {"passages": "latin.jsonl"},
        "search": {"questions": "asked.jsonl"},
        "evaluate": {"questions": "asked.jsonl"},
        "score": {"questions": "asked.jsonl"},
    }[command]
    words = _words(command, world, tmp_path, **changed)
    words += ["--data.skip_bad_rows=true"] if command == "train" else ["--skip-bad-rows"]
    capfd.readouterr()
    assert run(*words) == 0
    captured = capfd.readouterr()
    where = world / next(iter(changed.values())).replace("questions.yaml", "asked.jsonl")
    assert f"skipped 1 row: {where}:" in captured.err + captured.out
    assert list(tmp_path.glob("OUT*"))
