import ast
import inspect
import json
import logging
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from art.demo.corpus import MODULES, iter_passages
from art.demo.docstrings import MIN_DOCSTRING_CHARS

DEMO = Path(__file__).parents[2] / "art" / "demo"
TRAIN = DEMO / "questions.train.txt"
SIZES = {"choose": 421, "locked": 400}

READER = DEMO / "docstrings.py"


@pytest.fixture(scope="module")
def passages() -> list[tuple[str, str, str]]:
    return list(iter_passages())


def questions(part: str) -> list[dict]:
    lines = (DEMO / f"questions.{part}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def train_questions() -> list[str]:
    return TRAIN.read_text(encoding="utf-8").splitlines()


def normalized(question: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in question.lower())
    return " ".join(words.split())


def run_fresh(hash_seed: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-W", "default", str(READER)]
    modules = json.dumps(MODULES).encode()
    return subprocess.run(command, env=environment, input=modules, capture_output=True, check=True)


def test_two_hash_seeds_give_the_same_bytes():
    assert run_fresh("1").stdout == run_fresh("2").stdout


def test_reading_the_corpus_prints_only_the_corpus_and_warns_of_nothing(passages):
    done = run_fresh("0")
    assert [tuple(passage) for passage in json.loads(done.stdout)] == passages
    assert done.stderr == b""


def test_an_interpreter_in_another_folder_reads_the_same(passages, tmp_path):
    venv.create(tmp_path / "elsewhere", with_pip=False)
    command = [tmp_path / "elsewhere" / "bin" / "python", "-I", str(READER)]
    done = subprocess.run(command, input=json.dumps(MODULES).encode(), capture_output=True)
    assert [tuple(passage) for passage in json.loads(done.stdout)] == passages


def test_what_this_process_has_patched_does_not_change_the_corpus(passages, monkeypatch):
    def once(self: object) -> None:
        """Log a message, but only the first time."""

    monkeypatch.setattr(logging.Logger, "info_once", once, raising=False)
    monkeypatch.delattr(inspect, "getfile")
    assert list(iter_passages()) == passages


def test_the_corpus_needs_only_the_standard_library():
    tree = ast.parse(READER.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    plain = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    origins = {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in plain | origins} <= sys.stdlib_module_names


def test_ids_are_unique_and_equal_the_titles(passages):
    ids = [passage_id for passage_id, _, _ in passages]
    assert len(set(ids)) == len(ids)
    assert ids == [title for _, title, _ in passages]


def test_every_text_is_long_enough_to_say_something(passages):
    assert min(len(text.strip()) for _, _, text in passages) >= MIN_DOCSTRING_CHARS


def test_the_corpus_has_thousands_of_passages_and_only_public_names(passages):
    assert 4500 <= len(passages) <= 8000
    names = [part for passage_id, _, _ in passages for part in passage_id.split(".")]
    assert not [name for name in names if name.startswith("_")]


def test_no_signature_shows_a_memory_address(passages):
    assert not [text for _, _, text in passages if " at 0x" in text.partition("\n")[0]]


def test_one_object_and_one_text_under_one_name_appear_once(passages):
    ids = {passage_id for passage_id, _, _ in passages}
    assert "open" in ids and "io.open" not in ids
    assert "random.choice" in ids and "random.Random.choice" not in ids
    assert "set.union" in ids and "frozenset.union" not in ids
    assert "bytes.lower" in ids and "bytearray.lower" not in ids


def test_familiar_names_are_passages(passages):
    ids = {passage_id for passage_id, _, _ in passages}
    familiar = "os.getcwd pathlib.Path.glob collections.Counter.most_common json str.split dict.get"
    assert set(familiar.split()) <= ids
    assert {"len", "sorted", "os.path.join", "pathlib.PurePath.stem", "typing.Optional"} <= ids


def test_a_signature_comes_before_the_docstring_unless_the_docstring_has_one(passages):
    texts = {passage_id: text for passage_id, _, text in passages}
    assert texts["os.getcwd"].startswith("getcwd()\n")
    assert texts["str.split"].startswith("split(")
    assert "self" not in texts["str.split"].partition("\n")[0]


def test_modules_are_listed_once_with_packages_before_their_submodules():
    assert len(set(MODULES)) == len(MODULES)
    places = {name: place for place, name in enumerate(MODULES)}
    for name in MODULES:
        parent = name.rpartition(".")[0]
        assert places.get(parent, -1) < places[name]


def test_the_question_files_have_their_sizes():
    assert {part: len(questions(part)) for part in SIZES} == SIZES


def test_the_training_questions_are_as_many_as_the_readme_says():
    assert len(train_questions()) == 3072


def test_every_question_has_a_passage_that_answers_it(passages):
    ids = {passage_id for passage_id, _, _ in passages}
    missing = set()
    for part in SIZES:
        for row in questions(part):
            gold = row["positive_passage_ids"]
            assert gold and len(set(gold)) == len(gold), row["id"]
            assert ids & set(gold), row["id"]
            missing |= set(gold) - ids
    # None in Python 3.11.7; 3.11.2 does not document `asyncio.Timeout`, 3.13 has no `re.error`.
    assert len(missing) <= 5, missing


def test_every_question_has_a_text_and_an_id_of_its_own():
    rows = [row for part in SIZES for row in questions(part)]
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row["question"].strip() for row in rows)


def test_no_evaluation_question_is_asked_twice():
    asked = [normalized(row["question"]) for part in SIZES for row in questions(part)]
    assert len(set(asked)) == len(asked)


def test_no_evaluation_question_is_a_training_question():
    trained = {normalized(question) for question in train_questions()}
    asked = {normalized(row["question"]) for part in SIZES for row in questions(part)}
    assert not asked & trained
    assert "" not in trained
