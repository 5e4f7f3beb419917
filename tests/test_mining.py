"""Hard negatives: which passages are chosen, what is left out, and that training can read them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command import run
from thread_ranks import in_world

from art import mining
from art.data.formats import Passage, Question, read_questions, read_supervised
from art.data.passages import PassageStore
from art.data.supervised_store import SupervisedStore
from art.errors import ArtError, DataError
from art.mining import Mined, NegativeChoice, bm25_search, mine
from art.retriever.bm25 import BM25

TEXTS = "zero one two three four five six seven eight nine".split()


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PassageStore:
    passages = [
        Passage(f"p{row}", f"t{row}", f"the number {text}") for row, text in enumerate(TEXTS)
    ]
    folder = tmp_path_factory.mktemp("store") / "store"
    return PassageStore.build(passages, folder, source="here", progress=False)


def in_row_order(texts: list[str], top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """Every question finds row 0, 1, 2 … with scores 10, 9, 8 …"""
    rows = np.arange(min(top_k, len(TEXTS)), dtype=np.int64)
    return np.tile(10.0 - rows, (len(texts), 1)), np.tile(rows, (len(texts), 1))


def mined(store, output: Path, *questions: Question, **choice) -> tuple[list[dict], Mined]:
    result = mine(
        in_row_order, store, questions, output, choice=NegativeChoice(**choice), progress=False
    )
    return [json.loads(line) for line in output.read_text().splitlines()], result


def ids(contexts: list[dict]) -> list[str]:
    return [one["passage_id"] for one in contexts]


def asked(*positives: str, answers: tuple[str, ...] = (), name: str = "q") -> Question:
    return Question(name, "which?", answers, frozenset(positives))


def test_named_passages_and_those_with_an_answer_are_no_negatives(store, tmp_path):
    question = asked("p4", "p1", answers=("number two", "SIX"))
    [row], result = mined(store, tmp_path / "n.jsonl", question, num_negatives=4)
    assert ids(row["positive_ctxs"]) == ["p1", "p4"]
    assert ids(row["hard_negative_ctxs"]) == ["p0", "p3", "p5", "p7"]
    assert row["negative_ctxs"] == [] and row["answers"] == ["number two", "SIX"]
    assert row["positive_ctxs"][0] == {
        "passage_id": "p1", "title": "t1", "text": "the number one", "score": 9.0
    }  # fmt: skip
    assert (result.num_questions, result.num_negatives, result.notes()) == (1, 4, [])


def test_a_positive_under_another_id_is_no_negative(tmp_path):
    passages = [Passage("p0", "t", "moon"), Passage("p1", "t", "moon"), Passage("p2", "s", "moon")]
    twice = PassageStore.build(passages, tmp_path / "store", source="here", progress=False)
    rows = np.arange(3)[None]
    output = tmp_path / "n.jsonl"
    choice = NegativeChoice(num_negatives=2)

    def search(*_: object) -> tuple[np.ndarray, np.ndarray]:
        return 3.0 - rows, rows

    mine(search, twice, [asked("p0")], output, choice=choice, progress=False)
    (row,) = map(json.loads, output.read_text().splitlines())
    assert ids(row["positive_ctxs"]) == ["p0"] and ids(row["hard_negative_ctxs"]) == ["p2"]


def test_the_best_ranked_passage_with_an_answer_is_the_positive_where_none_is_named(
    store, tmp_path
):
    question = asked(answers=("seven", "three", "nothing"))
    [row], _ = mined(store, tmp_path / "n.jsonl", question)
    assert ids(row["positive_ctxs"]) == ["p3"]
    assert ids(row["hard_negative_ctxs"]) == ["p0", "p1", "p2", "p4", "p5", "p6", "p8", "p9"]


def test_only_the_window_of_ranks_is_taken(store, tmp_path):
    [row], _ = mined(store, tmp_path / "n.jsonl", asked("p9", "p3"), skip_top=2, depth=6)
    assert ids(row["hard_negative_ctxs"]) == ["p2", "p4", "p5"]
    assert ids(row["positive_ctxs"]) == ["p3", "p9"]
    assert row["positive_ctxs"][1]["score"] is None


def test_the_margin_is_below_the_first_positive(store, tmp_path):
    positive = asked("p3", "p6")
    [row], _ = mined(store, tmp_path / "n.jsonl", positive, margin=0.0)
    assert ids(row["hard_negative_ctxs"]) == ["p4", "p5", "p7", "p8", "p9"]
    [row], _ = mined(store, tmp_path / "n.jsonl", positive, margin=2.0)
    assert ids(row["hard_negative_ctxs"]) == ["p5", "p7", "p8", "p9"]
    [row], _ = mined(store, tmp_path / "n.jsonl", asked("p9"), margin=0.0, depth=5)
    assert row["hard_negative_ctxs"] == []


def test_a_seed_draws_from_all_that_qualify(store, tmp_path):
    def drawn(seed: int) -> list[list[str]]:
        questions = [asked("p0", name=f"q{number}") for number in range(40)]
        rows, _ = mined(store, tmp_path / "n.jsonl", *questions, num_negatives=3, seed=seed)
        return [ids(row["hard_negative_ctxs"]) for row in rows]

    first = drawn(1)
    assert first == drawn(1) != drawn(2)
    assert {name for names in first for name in names} == {f"p{row}" for row in range(1, 10)}
    assert all(names == sorted(set(names)) and len(names) == 3 for names in first)


def test_what_is_left_out_is_counted_and_said(store, tmp_path):
    rows, result = mined(
        store,
        tmp_path / "n.jsonl",
        asked("p2", name="a"),
        asked(name="b"),
        asked("elsewhere", name="c"),
        asked(answers=("eleven",), name="d"),
        num_negatives=9,
        depth=5,
    )
    assert [row["id"] for row in rows] == ["a"]
    assert result.notes() == [
        "1 of 4 questions have neither positive_passage_ids nor answers and are left out (b)",
        "2 of 4 questions have no positive, neither by id in the corpus nor by an answer and are "
        "left out (c, d)",
        "1 questions have fewer negatives than asked for",
    ]


def test_nothing_is_written_where_no_question_has_a_positive(store, tmp_path):
    output = tmp_path / "n.jsonl"
    output.write_text("older")
    with pytest.raises(DataError, match=r"no question has a positive .*1 of 1 questions have nei"):
        mined(store, output, asked())
    assert output.read_text() == "older" and list(tmp_path.iterdir()) == [output]


def test_a_window_without_ranks_or_a_wrong_ending_is_refused(store, tmp_path):
    with pytest.raises(ArtError, match="no rank is left"):
        NegativeChoice(skip_top=5, depth=5)
    for margin in (-1.0, float("nan")):
        with pytest.raises(ArtError, match="margin"):
            NegativeChoice(margin=margin)
    with pytest.raises(DataError, match=r"\.jsonl"):
        mined(store, tmp_path / "n.json", asked("p1"))


def test_bm25_gives_no_passage_that_shares_no_word(store, tmp_path):
    search = bm25_search(BM25.build(store, cache=tmp_path))
    _, rows = search(["seven nine"], 10)
    assert sorted(rows[0, :2].tolist()) == [7, 9] and (rows[0, 2:] == -1).all()


@pytest.fixture(scope="module")
def files(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    passages = [{"id": name, "title": title, "text": text} for name, title, text in corpus]
    (folder / "passages.jsonl").write_text("\n".join(map(json.dumps, passages)))
    questions = [
        {"id": f"q{i}", "question": corpus[i][2], "positive_passage_ids": [corpus[i][0]]}
        for i in range(5)
    ]
    ending = " ".join(corpus[5][2].split()[-3:])  # with a number that no other passage ends in
    questions.append({"id": "q5", "question": corpus[5][2], "answers": [ending]})
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)))
    return folder


@pytest.fixture(scope="module")
def searched(files, tiny_bert, tmp_path_factory) -> list:
    """The options that search an index of a tiny retriever."""
    from art.retriever.loading import create_retriever

    folder = tmp_path_factory.mktemp("searched")
    create_retriever(str(tiny_bert), passage_length=64, pooling="mean").save(folder / "retriever")
    options = ["--retriever", folder / "retriever", "--passages", files / "passages.jsonl"]
    assert run("embed", *options, "--output", folder / "index", "--cpu") == 0
    return [*options[:2], "--index", folder / "index"]


@pytest.mark.parametrize("by", ["retriever", "bm25"])
def test_what_the_command_mines_is_read_by_training(by, files, searched, tmp_path, capsys):
    options = ["--bm25", "--passages", files / "passages.jsonl"] if by == "bm25" else searched
    output = tmp_path / "negatives.jsonl"
    words = ["mine", *options, "--questions", files / "questions.jsonl", "--output", output]
    assert run(*words, "--num-negatives", 4, "--depth", 20, "--cpu") == 0
    assert "6 questions, 24 hard negatives" in capsys.readouterr().out
    questions = read_questions(files / "questions.jsonl")
    examples = [example for _, example in read_supervised(output)]
    assert [one.question for one in examples] == [one.text for one in questions]
    for number, one in enumerate(examples):
        assert [passage.passage_id for passage in one.positives] == [f"p{number}"]
        assert f"p{number}" not in {passage.passage_id for passage in one.hard_negatives}
    built = SupervisedStore.open_or_build([output], cache=tmp_path, progress=False)
    positive, negatives = built.select(5, seed=0, epoch=0, num_hard_negatives=4)
    assert built.contexts[positive].text == examples[5].positives[0].text
    assert len(negatives) == 4 and built.num_short(4) == 0


@pytest.mark.parametrize("extra", [[], ["--bm25"], ["--retriever", "x"]])
def test_the_command_wants_one_thing_to_search(extra, files, tmp_path, capsys):
    words = ["--questions", files / "questions.jsonl", "--output", tmp_path / "n.jsonl", "--cpu"]
    assert run("mine", *words, *extra) == 1
    assert "give --retriever with its --index, or --bm25" in capsys.readouterr().err


def test_words_that_match_nothing_are_no_search(files, tmp_path, capsys):
    questions = tmp_path / "chinese.jsonl"
    rows = [{"question": text, "positive_passage_ids": ["p0"]} for text in ("桥在哪里", "月亮")]
    questions.write_text("\n".join(map(json.dumps, rows)))
    words = ["--bm25", "--passages", files / "passages.jsonl", "--questions", questions]
    assert run("mine", *words, "--output", tmp_path / "n.jsonl", "--cpu") == 1
    assert "BM25 finds nothing for 2 of 2 questions" in capsys.readouterr().err
    assert run("mine", *words, "--output", tmp_path / "n.jsonl", "--language", "germn") == 1
    assert "did you mean german" in capsys.readouterr().err
    assert not (tmp_path / "n.jsonl").exists()


def test_a_language_is_asked_for_with_bm25_alone(searched, files, tmp_path, capsys):
    words = ["--questions", files / "questions.jsonl", "--output", tmp_path / "n.jsonl", "--cpu"]
    assert run("mine", *searched, *words, "--language", "german") == 1
    assert "give it with --bm25" in capsys.readouterr().err


def test_chinese_passages_with_the_answer_are_positives_and_no_negatives(tmp_path):
    texts = ["巴黎是法国的首都。", "法国的首都巴黎很美。", "法国的首都在哪里？", "猫在屋顶上。"]
    passages = [Passage(f"c{row}", "", text) for row, text in enumerate(texts)]
    corpus = PassageStore.build(passages, tmp_path / "store", source="here", progress=False)
    search = bm25_search(BM25.build(corpus, cache=tmp_path))
    question = Question("q", "法国的首都是哪里", ("巴黎",))
    output = tmp_path / "n.jsonl"
    mine(search, corpus, [question], output, choice=NegativeChoice(), progress=False)
    [row] = [json.loads(line) for line in output.read_text().splitlines()]
    assert ids(row["positive_ctxs"])[0] in ("c0", "c1")
    assert ids(row["hard_negative_ctxs"]) == ["c2"]


@pytest.mark.parametrize("size", [2, 3])
def test_several_processes_write_what_one_writes(size, store, tmp_path, monkeypatch):
    questions = [asked(f"p{i}", name=f"q{i}") for i in range(7)]
    questions += [asked(name="unlabelled"), asked("gone", name="unanswered")]
    choice, output = {"num_negatives": 3, "seed": 7}, tmp_path / "n.jsonl"
    alone = mined(store, tmp_path / "alone.jsonl", *questions, **choice)
    monkeypatch.setattr(mining, "_QUESTIONS_AT_ONCE", 2)  # and on the last round some have none
    results = in_world(
        size,
        lambda: mine(
            in_row_order, store, questions, output, choice=NegativeChoice(**choice), progress=False
        ),
        monkeypatch,
    )
    assert results == [alone[1]] * size
    assert output.read_bytes() == (tmp_path / "alone.jsonl").read_bytes()


def test_what_one_process_cannot_write_fails_on_all(store, tmp_path, monkeypatch):
    (tmp_path / "n.jsonl").mkdir()

    def failing() -> str:
        with pytest.raises(ArtError, match=r"n\.jsonl: cannot write") as caught:
            mine(in_row_order, store, [asked("p1")], tmp_path / "n.jsonl", choice=NegativeChoice())
        return str(caught.value)

    first, second = in_world(2, failing, monkeypatch)
    assert first == second
