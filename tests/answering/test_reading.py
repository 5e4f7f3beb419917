"""Questions answered from passages: which passage is believed, and what the command prints."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command import run
from forked import finish
from killed_run import KilledError

from art.answering import job
from art.answering.reader import FoundSpans
from art.answering.reading import answer, check_patterns, depths_of, judge
from art.data.formats import Passage, Question
from art.data.passages import PassageStore
from art.errors import DataError

LONG = "moon " * 200


class Believing:
    """A reader that answers with the first word, and believes passages in a given order."""

    def __init__(self, template, relevance) -> None:
        self.template, self.relevance = template, relevance

    def read(self, readings) -> FoundSpans:
        zeros = np.zeros(len(readings), np.int64)
        empty = [one.text_start == len(one.ids) for one in readings]
        score = np.where(empty, -np.inf, 1.0).astype(np.float32)
        return FoundSpans(zeros, zeros, score, np.array(self.relevance, np.float32))


@pytest.fixture(scope="module")
def template(tiny_reader):
    from art.answering.reader import load_reader

    return load_reader(str(tiny_reader)).template


def test_the_most_relevant_of_the_first_passages_answers(template, tmp_path) -> None:
    texts = ["Moon of stone", "", "River of moon", "Garden of moon", "Temple"]
    passages = [Passage(f"p{i}", f"title {i}", text) for i, text in enumerate(texts)]
    store = PassageStore.build(passages, tmp_path / "store", source="test", progress=False)
    rows = np.array([[1, 0, 2, 3], [4, 3, 2, 1]])
    # The passage without a text is believed the most, and has nothing to answer with.
    reads = Believing(template, [9, 1, 2, 2, 0, -1, -2, 9])
    asked = ["who ?", "what ?"]
    found, num_cut = answer(reads, asked, rows, store, depths=[1, 2, 4])
    assert num_cut == 0
    read = [{k: one and (one.text, one.row, one.rank) for k, one in of.items()} for of in found]
    assert read == [
        {1: None, 2: ("Moon", 0, 2), 4: ("River", 2, 3)},
        {1: ("Temple", 4, 1), 2: ("Temple", 4, 1), 4: ("Temple", 4, 1)},
    ]
    questions = [
        Question("q0", "who ?", ("the moon!", "a river")),
        Question("q1", "what ?", ("Stone temple",)),
        Question("q2", "when ?"),
    ]
    result = judge(questions, [*found, found[1]])
    assert result.metrics == pytest.approx(
        {
            "exact_match_1": 0, "exact_match_2": 0.5, "exact_match_4": 0.5,
            "f1_1": 1 / 3, "f1_2": 5 / 6, "f1_4": 5 / 6,
        }
    )  # fmt: skip
    assert [line["num_questions"] for line in result.table()] == [2] * 6
    assert result.notes == [
        "1 of 3 questions have no answers and are left out of the metrics",
        "1 of 3 questions have no passage with a text that was read, which counts as a wrong "
        "answer",
    ]
    patterns = ["mo+"], ["emple", "temple$"]
    asked_by = [Question(f"q{i}", "who ?", some) for i, some in enumerate(map(tuple, patterns))]
    check_patterns(asked_by)
    matched = judge(asked_by, found, regex_answers=True)
    assert matched.metrics == {"exact_match_1": 0.5, "exact_match_2": 1, "exact_match_4": 0.5}
    behind_the_start = [Question("q1", "who ?", ("emple",))]
    assert judge(behind_the_start, [found[1]], regex_answers=True).metrics["exact_match_1"] == 0
    for accepted, regex in (("The The", False), (".*", True)):  # would both accept nothing at all
        unread = judge([Question("q0", "who ?", (accepted,))], [found[0]], regex_answers=regex)
        assert unread.metrics["exact_match_1"] == 0
    with pytest.raises(DataError, match="not a valid regular expression"):
        check_patterns([Question("q3", "who ?", ("(",))])


def test_a_small_corpus_is_read_whole() -> None:
    assert depths_of(10**6) == depths_of(100) == [10, 20, 50, 100]
    assert depths_of(60) == [10, 20, 50, 60] and depths_of(3) == [3]


@pytest.fixture(scope="module")
def files(corpus, tiny_bert, tmp_path_factory):
    from art.retriever.loading import create_retriever

    folder = tmp_path_factory.mktemp("read")
    rows = [{"id": name, "title": title, "text": text} for name, title, text in corpus]
    rows.append({"id": "long", "title": "", "text": LONG})
    (folder / "passages.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = [{"id": f"q{i}", "question": corpus[i][2], "answers": ["moon"]} for i in range(20)]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (folder / "unlabelled.txt").write_text("where is the moon ?\nwho built the bridge ?\n")
    create_retriever(str(tiny_bert), passage_length=64, pooling="mean").save(folder / "retriever")
    built = ["--passages", folder / "passages.jsonl", "--output", folder / "index", "--cpu"]
    assert run("embed", "--retriever", folder / "retriever", *built) == 0
    return folder


def command(files, reader, questions):
    made = ["--retriever", files / "retriever", "--index", files / "index", "--reader", reader]
    return ["read", *made, "--questions", files / questions, "--cpu"]


def test_the_command_prints_exact_match_and_f1_and_writes_the_same_from_two_processes(
    files, tiny_reader, corpus, tmp_path, capsys, monkeypatch
) -> None:
    output = tmp_path / "answers.json"
    assert run(*command(files, tiny_reader, "questions.jsonl"), "--output", output) == 0
    printed, said = capsys.readouterr()
    assert "20 of 1,220 passages have more tokens with their question than the 128" in said
    for depth in (10, 20, 50, 61):
        assert f"exact match, {depth} passages" in printed and f"F1, {depth} passages" in printed
    written = json.loads(output.read_text())
    assert written["metrics"].keys() >= {"exact_match_10", "f1_61"}
    texts = {name: text for name, _, text in corpus} | {"long": LONG}
    for one in written["answers"]:
        assert one["read"].keys() == {"10", "20", "50", "61"}
        for depth, read in one["read"].items():
            assert read["answer"] in texts[read["passage_id"]] and read["rank"] <= int(depth)
    shared = tmp_path / "shared.json"
    monkeypatch.setenv("ART_CACHE", str(tmp_path / "cache"))  # where no answer is kept yet
    words = [*command(files, tiny_reader, "questions.jsonl"), "--output", shared]
    ended = finish(words, tmp_path / "said", world_size=2)
    assert [status for status, _ in ended] == [0, 0] and shared.read_bytes() == output.read_bytes()


def test_a_killed_reading_goes_on_behind_its_last_block(
    files, tiny_reader, tmp_path, monkeypatch
) -> None:
    words, original, read = command(files, tiny_reader, "questions.jsonl"), job.answer, []

    def dying(reader, questions, *rest, **options):
        if len(read) == 16:
            read.append("")
            raise KilledError
        read.extend(questions)
        return original(reader, questions, *rest, **options)

    monkeypatch.setattr(job, "answer", dying)
    for name in ("cut", "whole", "again"):
        read[:] = [""] * (name == "whole")  # which nothing kills
        if name != "again":
            monkeypatch.setenv("ART_CACHE", str(tmp_path / name))
        if name == "cut":
            with pytest.raises(KilledError):
                run(*words, "--output", tmp_path / "cut.json")
            left = next((tmp_path / name / "answers").glob("*/answers.jsonl"))
            left.write_bytes(left.read_bytes() + b'{"answers": [{"10')
        assert run(*words, "--output", tmp_path / f"{name}.json") == 0
        assert len([*filter(None, read)]) == (0 if name == "again" else 20)
    written = [(tmp_path / f"{name}.json").read_bytes() for name in ("cut", "whole", "again")]
    assert written[0] == written[1] == written[2]


def test_questions_without_answers_are_answered_into_a_file_alone(
    files, tiny_reader, tmp_path, capsys
) -> None:
    assert run(*command(files, tiny_reader, "unlabelled.txt")) == 1
    assert "no question has answers to compare with" in capsys.readouterr().err
    output = tmp_path / "answers.json"
    assert run(*command(files, tiny_reader, "unlabelled.txt"), "--output", output) == 0
    assert "2 questions answered" in capsys.readouterr().out
    assert "metrics" not in json.loads(output.read_text())
