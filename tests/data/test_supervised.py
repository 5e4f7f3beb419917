"""Files of the supervised mode: each format, complaints, the store, what a step trains with."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from damage import spoil
from hypothesis import given, settings
from hypothesis import strategies as st

from art.data import json_lists
from art.data.formats import Passage, SupervisedExample, read_supervised
from art.data.records import comparable, content_id
from art.data.supervised_store import SupervisedStore
from art.errors import CorruptionError, DataError

texts = st.text(st.characters(codec="utf-8"), max_size=20)
filled = texts.filter(lambda text: bool(text.strip()))
contexts = st.lists(
    st.builds(lambda i, a, b: {"passage_id": i, "title": a, "text": b}, filled, texts, filled),
    max_size=3,
)
rows = st.lists(
    st.builds(
        lambda question, answers, positive, negative, hard: {
            "dataset": "nq",
            "question": question,
            "answers": answers,
            "positive_ctxs": positive,
            "negative_ctxs": negative,
            "hard_negative_ctxs": hard,
        },
        filled,
        st.lists(texts, max_size=2),
        contexts,
        contexts,
        contexts,
    ),
    min_size=1,
    max_size=6,
)


def passages(listed: list[dict]) -> tuple[Passage, ...]:
    return tuple(Passage(one["passage_id"], one["title"], one["text"]) for one in listed)


def example(row: dict) -> SupervisedExample:
    return SupervisedExample(
        row["question"],
        tuple(row["answers"]),
        passages(row["positive_ctxs"]),
        passages(row["hard_negative_ctxs"]),
        passages(row["negative_ctxs"]),
    )


def write(path: Path, contents: str | bytes) -> Path:
    data = contents.encode() if isinstance(contents, str) else contents
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def fault(path: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        list(read_supervised(path))
    return caught.value


@settings(max_examples=60, deadline=None)
@given(
    rows=rows,
    name=st.sampled_from(["a.json", "a.json.gz", "a.jsonl", "a.jsonl.gz"]),
    indent=st.sampled_from([None, 4]),
    ascii_only=st.booleans(),
    piece=st.integers(1, 40),
)
def test_every_dpr_row_comes_back_exactly(rows, name, indent, ascii_only, piece, tmp_path_factory):
    if "jsonl" in name:
        contents = "\n".join(json.dumps(row, ensure_ascii=ascii_only) for row in rows)
    else:
        contents = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    path = write(tmp_path_factory.mktemp("dpr") / name, contents)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lists, "_READ_CHARACTERS", piece)
        found = list(read_supervised(path))
    assert [one for _, one in found] == [example(row) for row in rows]
    form = f"{path}:%d" if "jsonl" in name else f"{path}: entry %d"
    assert [where for where, _ in found] == [form % number for number in range(1, len(rows) + 1)]


def test_ids_go_by_either_name_and_numbers_are_read_exactly(tmp_path):
    big = 12345678901234567890123
    row = {
        "question": "who?",
        "positive_ctxs": [{"psg_id": big, "title": None, "text": "moon", "score": 1e400}],
        "hard_negative_ctxs": [{"text": "sun"}, {"passage_id": "", "title": "s", "text": "un"}],
    }
    path = write(tmp_path / "a.json", json.dumps([row]).replace("Infinity", "1e400"))
    [(_, found)] = read_supervised(path)
    assert found.positives == (Passage(str(big), "", "moon"),)
    assert [one.passage_id for one in found.hard_negatives] == [
        content_id("", "sun"),
        content_id("s", "un"),
    ]
    assert found.answers == found.negatives == ()


def test_tevatron_rows_are_read_their_negatives_as_hard_ones(tmp_path):
    row = {
        "query_id": 7,
        "query": "who?",
        "positive_passages": [{"docid": "1", "title": "t", "text": "moon"}],
        "negative_passages": [{"docid": "2", "title": "", "text": "sun"}],
    }
    [(_, found)] = read_supervised(write(tmp_path / "t.jsonl", json.dumps(row)))
    assert found == SupervisedExample(
        "who?", (), (Passage("1", "t", "moon"),), (Passage("2", "", "sun"),)
    )


def test_a_simple_transformers_table_is_read(tmp_path):
    table = 'query_text\tgold_passage\ttitle\thard_negative\nwho?\t"a\ttab"\tt\tsun\nx\ty\t\t\n'
    found = [one for _, one in read_supervised(write(tmp_path / "s.tsv.gz", table))]
    moon, sun = (
        Passage(content_id("t", "a\ttab"), "t", "a\ttab"),
        Passage(content_id("", "sun"), "", "sun"),
    )
    assert found == [
        SupervisedExample("who?", (), (moon,), (sun,)),
        SupervisedExample("x", (), (Passage(content_id("", "y"), "", "y"),)),
    ]


GOOD = '{"question": "q", "positive_ctxs": [{"text": "moon"}]}'


@pytest.mark.parametrize(
    ("name", "contents", "where", "what"),
    [
        ("a.json", f"[{GOOD}, {{'x'}}]", ": entry 2", "not JSON: Expecting property name"),
        ("a.json", f"[{GOOD}, 7]", ": entry 2", "object is expected, not int"),
        ("a.json", f"[{GOOD},]", ": entry 2", "not ']'"),
        ("a.json", f"[{GOOD} {GOOD}]", ": entry 1", "a comma or the end"),
        ("a.json", f"[{GOOD}, {GOOD[:-5]}", ": entry 2", "not JSON: "),
        ("a.json", f"[{GOOD}, {GOOD}", ": entry 2", "the file ends"),
        ("a.json", f"[{GOOD}]]", "", "follows the end"),
        ("a.json", '[{"a": ' + "[" * 200_000, ": entry 1", "recursion"),
        ("a.json", f'[{GOOD}, {{"question": "q"}}]', ": entry 2", "'positive_ctxs'"),
        ("a.json", "[" + GOOD.replace("moon", "\\ud800A") + "]", "[0]", "surrogate"),
        ("a.jsonl", GOOD + '\n{"question": "q"', ":2", "not JSON"),
        ("a.jsonl", GOOD.replace('"q"', '" "'), ":1", "question is empty"),
        ("a.jsonl", GOOD.replace('"q"', "1"), ":1", "not a string"),
        ("a.jsonl", GOOD.replace("moon", " "), ":1: positive_ctxs[0]", "without text"),
        ("a.jsonl", GOOD.replace('{"text": "moon"}', '"moon"'), ":1: positive_ctxs[0]", "object"),
        ("a.jsonl", GOOD.replace('"text"', '"passage"'), ":1: positive_ctxs[0]", "no 'text'"),
        ("a.jsonl", GOOD.replace('[{"text": "moon"}]', '"x"'), ":1", "not a list"),
        ("a.tsv", "question\tpassage\nq\tp\n", ":1", "query_text"),
        ("a.tsv", 'query_text\tgold_passage\t"x\nq\tp\tn\ny"\n', ":1", "every other column once"),
        ("a.tsv", "query_text\tgold_passage\nq\n", ":2", "1 columns"),
        ("a.tsv", "query_text\tgold_passage\nq\t \n", ":2", "without text"),
        ("a.xml", "x", "", "not a supervised file"),
    ],
)
def test_complaints_name_the_place(name, contents, where, what, tmp_path):
    error = fault(write(tmp_path / name, contents))
    assert what in error.what
    assert error.where.startswith(str(tmp_path / name)) and error.where.endswith(where)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_supervised(tmp_path / "none.json")
    latin = write(tmp_path / "latin.json", f"[{GOOD}]".replace("moon", "m\xf6n").encode("latin-1"))
    assert "not UTF-8" in fault(latin).what
    cut = tmp_path / "cut.json.gz"
    cut.write_bytes(gzip.compress(f"[{GOOD}]".encode() * 99)[:-20])
    assert fault(cut).where == str(cut)


@pytest.mark.parametrize("tail", ['"x": "' + "y" * 400, '"x": [' + "1, " * 200])
def test_an_entry_without_end_is_refused_before_it_fills_the_memory(tail, tmp_path, monkeypatch):
    monkeypatch.setattr(json_lists, "ROW_BYTES", 100)
    monkeypatch.setattr(json_lists, "_READ_CHARACTERS", 16)
    error = fault(write(tmp_path / "a.json", f"[{GOOD}, {{{tail}"))
    assert error.where.endswith("entry 2") and "within 16 MiB" in error.what


def context(text: str, passage_id: object = None, title: str = "") -> dict:
    return {"title": title, "text": text, "passage_id": passage_id}


def row(question: str, positives, hard=(), negatives=()) -> dict:
    return {
        "question": question,
        "answers": [question.upper()],
        "positive_ctxs": list(positives),
        "hard_negative_ctxs": list(hard),
        "negative_ctxs": list(negatives),
    }


def store(folder: Path, *rows: dict) -> SupervisedStore:
    path = write(folder / "train.json", json.dumps(rows))
    return SupervisedStore.open_or_build([path], cache=folder / "cache", progress=False)


@settings(max_examples=15, deadline=None)
@given(rows=rows)
def test_a_store_gives_back_what_it_was_built_from(rows, tmp_path_factory):
    rows = [*rows, row("who?", [context("moon")])]
    built = store(tmp_path_factory.mktemp("store"), *rows)
    kept: dict[str, list[dict]] = {}  # by what they ask
    for one in rows:
        if one["positive_ctxs"]:
            kept.setdefault(comparable(one["question"]), []).append(one)
    asked = [same[0]["question"] for same in kept.values()]
    assert list(built.questions) == built.questions[:] == asked
    assert len(built) == len(kept)
    texts = [(one.title, one.text) for one in built.contexts]
    assert len(set(texts)) == len(texts) == len(built.keys)
    for place, same in enumerate(kept.values()):
        answers = [answer for one in same for answer in one["answers"]]
        assert list(dict.fromkeys(built.answers(place))) == list(dict.fromkeys(answers))
        for found, name in (
            (built.positives, "positive_ctxs"),
            (built.hard_negatives, "hard_negative_ctxs"),
            (built.negatives, "negative_ctxs"),
        ):
            wanted = dict.fromkeys(
                (each["title"], each["text"]) for one in same for each in one[name]
            )
            assert [texts[row] for row in found(place).tolist()] == list(wanted)


def test_passages_with_one_id_and_text_or_one_title_and_text_have_one_key(tmp_path):
    built = store(
        tmp_path,
        row("a", [context("moon", 5)], [context("the moon", "5"), context("sun"), context("x", 9)]),
        row("b", [context("sun")], [context("moon", 6)], [context("sun", title="s")]),
        row("c", [context("moon", 5, title="m")], [context(" ", 5, "t"), context("", 5, "u")]),
    )
    moon, the_moon, sun, x, titled_sun, titled_moon, t, u = range(8)
    assert built.positives(1).tolist() == [sun] and built.hard_negatives(1).tolist() == [moon]
    assert built.keys[moon] == built.keys[titled_moon]
    others = [moon, the_moon, sun, x, titled_sun, t, u]
    assert len(set(built.keys[others].tolist())) == len(others)
    assert built.keys.dtype == np.uint64


def test_one_id_for_several_texts_is_said_with_an_example_also_from_the_cache(tmp_path):
    rows = [
        row("a", [context("moon", 0)], [context("sea", 7)]),
        row("b", [context("sun", 0)], [context("moon", 0), context("sand", 7)]),
        row("c", [context("sun", 0, "titled")], [context("sea", 8)]),
    ]
    note = (
        "2 passage ids stand for several texts, such as '{}' for '{}' and '{}': a passage is its "
        "id and its text, so these are different passages"
    )
    for built in (store(tmp_path, *rows), store(tmp_path, *rows)):
        (said,) = built.notes
        assert said in (note.format(0, "moon", "sun"), note.format(7, "sea", "sand"))
    titled = row("d", [context("sun", 0)], [context("sun", 0, "titled")])
    assert store(tmp_path, titled).notes == []
    chosen, negatives = built.select(1, seed=0, epoch=0, num_hard_negatives=2)
    found = [built.contexts[row].text for row in (chosen, *sorted(negatives.tolist()))]
    assert found == ["sun", "moon", "sand"]  # the other passage called 0 is a negative


def test_a_question_in_several_rows_is_one_with_the_passages_of_all(tmp_path):
    rows = [
        row("who ?", [context("moon", 1)], [context("sun", 2)], [context("sea", 3)]),
        row("where ?", [context("sand", 4)]),
        row(" who  ?", [context("sun", 2), context("moon", 1)], [context("sand", 4)]),
        row("who ?", [], [context("unread")]),
        row("who\t?", [context("moon", 5)], [], [context("rain")]),
    ]
    rows[2]["answers"] = ["other", "WHO ?"]
    (tmp_path / "rest").mkdir()
    path = write(tmp_path / "rest" / "more.tsv", "query_text\tgold_passage\nwhere ?\train\n")
    first = write(tmp_path / "train.json", json.dumps(rows))
    built = SupervisedStore.open_or_build([first, path], cache=tmp_path, progress=False)
    assert built.questions[:] == ["who ?", "where ?"]
    assert built.answers(0) == ("WHO ?", "other", "WHO\t?") and built.answers(1) == ("WHERE ?",)
    moon, sun, sea, sand, rain = range(5)
    assert [one.text for one in built.contexts] == ["moon", "sun", "sea", "sand", "rain"]
    assert built.positives(0).tolist() == [moon, sun]
    assert built.hard_negatives(0).tolist() == [sun, sand]
    assert built.negatives(0).tolist() == [sea, rain]
    assert built.positives(1).tolist() == [sand, rain]
    _, chosen = built.select(0, seed=0, epoch=0, num_hard_negatives=9)
    assert sorted(chosen.tolist()) == [sea, sand, rain]  # what answers it is no negative
    assert built.notes == [
        f"1 of 6 examples have no positive passage and are left out ({first}: entry 4)",
        "3 of 6 examples ask what one before them asks, such as ' who  ?': they are one question, "
        "with the passages of all of them; 2 questions",
    ]


def test_examples_without_a_positive_are_counted_also_from_the_cache(tmp_path):
    rows = [row("a", [context("moon")]), *(row(f"q{i}", [], [context("sun")]) for i in range(4))]
    first, again = store(tmp_path, *rows), store(tmp_path, *rows)
    assert first.notes == again.notes
    assert first.notes[0].startswith("4 of 5 examples have no positive passage and are left out (")
    assert "train.json: entry 2, " in first.notes[0] and "entry 5" not in first.notes[0]
    assert [one.text for one in first.contexts] == ["moon"]
    with pytest.raises(DataError, match="no example has a positive passage"):
        store(tmp_path, *rows[1:])
    assert store(tmp_path, rows[0]).notes == []


def test_several_files_are_one_list_and_a_changed_one_is_read_again(tmp_path):
    files = [
        write(tmp_path / "a.jsonl", json.dumps(row("a", [context("moon")]))),
        write(tmp_path / "b.tsv", "query_text\tgold_passage\nb\tmoon\n"),
    ]
    first = SupervisedStore.open_or_build(files, cache=tmp_path, progress=False)
    assert list(first.questions) == ["a", "b"]
    assert first.positives(0).tolist() == first.positives(1).tolist() == [0]
    again = SupervisedStore.open_or_build(files, cache=tmp_path, progress=False)
    assert again.folder == first.folder
    write(files[1], "query_text\tgold_passage\nb\tnoon\n")
    os.utime(files[1], ns=(1, 1))
    changed = SupervisedStore.open_or_build(files, cache=tmp_path, progress=False)
    assert changed.contexts[1].text == "noon" and changed.fingerprint != first.fingerprint


def test_the_fingerprint_tells_apart_which_passage_is_what(tmp_path):
    moon, sun = context("moon"), context("sun")
    stores = [
        row("a", [moon], [sun]),
        row("a", [moon], [], [sun]),
        row("a", [moon, sun]),
        row("b", [moon], [sun]),
        row("a", [moon], [context("sun", 3)]),
    ]
    prints = set()
    for number, one in enumerate(stores):
        (tmp_path / str(number)).mkdir()
        prints.add(store(tmp_path / str(number), one).fingerprint)
    assert len(prints) == len(stores)


FILES = ["keys.bin", "rows.bin", "row_borders.bin", "questions.jsonl", "question_borders.bin"]


def whole(built: SupervisedStore) -> list:
    """All that a store can be asked for."""
    kinds = (built.positives, built.hard_negatives, built.negatives)
    rows = [of(question).tolist() for question in range(len(built)) for of in kinds]
    answers = [built.answers(question) for question in range(len(built))]
    return [built.questions[:], answers, rows, built.keys.tolist(), list(built.contexts)]


@pytest.mark.parametrize("name", [*FILES, "manifest.json", "contexts/text.bin"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_store_is_built_again_from_its_files(name, damage, tmp_path, capsys):
    rows = [row("a", [context("moon")], [context("sun")]), row("b", [context("sea", 7)])]
    first = store(tmp_path, *rows)
    expected = whole(first)
    contents = spoil(first.folder / name, damage)
    again = SupervisedStore.open_or_build(
        [tmp_path / "train.json"], cache=tmp_path / "cache", progress=False
    )
    assert whole(again) == expected and again.fingerprint == first.fingerprint
    assert (first.folder / name).read_bytes() == contents
    (told,) = capsys.readouterr().err.splitlines()
    assert str(first.folder / name) in told and told.endswith("; building it again")


def test_a_store_whose_files_have_changed_is_not_built_again_under_its_name(tmp_path):
    folder = store(tmp_path, row("a", [context("moon")])).folder
    spoil(folder / "rows.bin", "flipped")
    path = tmp_path / "train.json"
    opened = SupervisedStore.open_or_build([path], cache=tmp_path / "cache", progress=False)
    write(path, json.dumps([row("another", [context("sun")])]))
    with pytest.raises(CorruptionError, match="its files have changed"):
        opened.positives(0)
    assert store(tmp_path, row("another", [context("sun")])).questions[:] == ["another"]


def test_questions_outside_the_store_are_refused(tmp_path):
    built = store(tmp_path, row("a", [context("moon")]))
    for question in (-1, 1):
        with pytest.raises(IndexError):
            built.positives(question)


@pytest.fixture
def many(tmp_path) -> SupervisedStore:
    """Three questions: 2 positives with 6 hard and 4 other negatives; 1 with 1 and 2; 1 alone."""
    hard, other = (
        [context(f"hard {i}") for i in range(6)],
        [context(f"other {i}") for i in range(4)],
    )
    return store(
        tmp_path,
        row("a", [context("yes 0"), context("yes 1", 1)], hard, other),
        row("b", [context("yes 0")], hard[:1], other[:2]),
        row("c", [context("yes 1", 1)], [context("yes 1", 1, "titled"), context("yes 1")]),
    )


def test_the_choice_is_a_function_of_seed_epoch_and_question(many):
    def chosen(seed: int, epoch: int) -> list:
        options = {"seed": seed, "epoch": epoch, "num_hard_negatives": 3, "positive": "random"}
        found = [many.select(question, **options) for question in (0, 1)]
        return [(positive, negatives.tolist()) for positive, negatives in found]

    assert chosen(1, 2) == chosen(1, 2)
    assert len({str(chosen(seed, epoch)) for seed in range(3) for epoch in range(3)}) > 5


def test_the_first_positive_is_taken_unless_random_ones_are_asked_for(many):
    options = {"seed": 3, "num_hard_negatives": 2}
    first = [many.select(0, epoch=epoch, **options) for epoch in range(40)]
    drawn = [many.select(0, epoch=epoch, positive="random", **options) for epoch in range(40)]
    assert {positive for positive, _ in first} == {0}
    assert {positive for positive, _ in drawn} == {0, 1}
    assert all((a[1] == b[1]).all() for a, b in zip(first, drawn, strict=True))


def test_hard_negatives_come_first_each_as_often_and_others_make_up(many):
    hard, other = set(many.hard_negatives(0).tolist()), set(many.negatives(0).tolist())
    counts = dict.fromkeys(hard, 0)
    for epoch in range(300):
        _, rows = many.select(0, seed=0, epoch=epoch, num_hard_negatives=2)
        assert len(set(rows.tolist())) == 2
        for one in rows.tolist():
            counts[one] += 1
    assert min(counts.values()) > 60  # 100 expected
    _, rows = many.select(0, seed=0, epoch=0, num_hard_negatives=9)
    assert set(rows[:6].tolist()) == hard and set(rows[6:].tolist()) < other and len(rows) == 9
    _, rows = many.select(1, seed=0, epoch=0, num_hard_negatives=9)
    assert len(rows) == 3 and rows.dtype == np.int64


def test_negatives_that_count_as_a_positive_are_never_chosen(many):
    positive, rows = many.select(2, seed=0, epoch=0, num_hard_negatives=2)
    assert [many.contexts[row].text for row in many.hard_negatives(2).tolist()] == ["yes 1"] * 2
    assert many.contexts[positive].text == "yes 1" and rows.tolist() == []


def test_questions_with_too_few_negatives_are_counted(many):
    assert [many.num_short(count) for count in (0, 1, 3, 4, 10, 11)] == [0, 1, 1, 2, 2, 3]


def test_memory_does_not_grow_with_the_file(tmp_path):
    """Twenty times the text in as many passages: building takes the same memory."""
    peaks = []
    for length in (1_000, 20_000):
        path, filler = tmp_path / f"{length}.json", "x" * length
        with open(path, "w") as file:
            for number in range(400):
                hard = [context(f"{number} {place} {filler}") for place in range(4)]
                file.write(",["[number == 0] + json.dumps(row("q", [context("moon")], hard)))
            file.write("]")
        tracemalloc.start()
        SupervisedStore.open_or_build([path], cache=tmp_path / "cache", progress=False)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert path.stat().st_size > 30e6
    assert peaks[1] < peaks[0] + 8e6
