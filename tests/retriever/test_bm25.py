"""BM25 against the formula computed here, ties by row, and the cached files."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import Stemmer
from bm25s.stopwords import STOPWORDS_EN_PLUS

from art.errors import ArtError, DataError
from art.files import fingerprint
from art.retriever import bm25 as lexical
from art.retriever.bm25 import BM25, share_words


@dataclass
class Text:
    title: str
    text: str


class Store:
    """As much of a passage store as BM25 reads."""

    def __init__(self, passages: list[tuple[str, str]]) -> None:
        self.passages = [Text(*passage) for passage in passages]
        self.fingerprint = fingerprint(*(part for passage in passages for part in passage))
        self.folder = Path("store")

    def __len__(self) -> int:
        return len(self.passages)

    def __getitem__(self, row: int) -> Text:
        return self.passages[row]


@pytest.fixture
def store(corpus) -> Store:
    return Store([(title, text) for _, title, text in corpus])


def words(text: str) -> list[str]:
    stem = Stemmer.Stemmer("english").stemWord
    found = re.findall(r"\w+", text.lower())
    return [stem(word) for word in found if word not in STOPWORDS_EN_PLUS]


def reference(store: Store, question: str, k1: float = 0.9, b: float = 0.4) -> np.ndarray:
    """Lucene's BM25, [N] (Kamphuis et al., ECIR 2020, equation 3)."""
    documents = [Counter(words(f"{p.title} {p.text}")) for p in store.passages]
    lengths = [sum(document.values()) for document in documents]
    mean = sum(lengths) / len(lengths)
    scores = np.zeros(len(documents))
    for word in words(question):
        matching = sum(word in document for document in documents)
        weight = math.log(1 + (len(documents) - matching + 0.5) / (matching + 0.5))
        for row, document in enumerate(documents):
            norm = k1 * (1 - b + b * lengths[row] / mean)
            scores[row] += weight * document[word] / (norm + document[word])
    return scores


QUESTIONS = ["Where was the stone bridge found?", "title moon 17", "rivers rivers 42", "engines"]


def test_scores_are_those_of_the_formula(store, tmp_path):
    scores, rows = BM25.build(store, cache=tmp_path).search(QUESTIONS, 60)
    assert scores.dtype == np.float32 and rows.dtype == np.int64
    for question, found, order in zip(QUESTIONS, scores, rows, strict=True):
        expected = reference(store, question)
        assert expected.max() > 0
        np.testing.assert_allclose(found, expected[order], rtol=1e-5, atol=1e-6)
        assert sorted(order) == list(range(60))


def test_no_score_is_above_what_a_passage_full_of_the_questions_words_approaches(tmp_path) -> None:
    texts = [
        "bridge " * 3000 + "stone",
        "bridge over the river",
        "the river",
        "stone river",
        "moon",
    ]
    bm25 = BM25.build(Store([("", text) for text in texts]), cache=tmp_path)
    questions = ["bridge", "bridge river", "bridge comet", "river", "what is the"]
    most = bm25.most(questions)
    best = bm25.search(questions, 1)[0][:, 0]
    assert (best <= most).all() and most[4] == 0
    assert best[0] == pytest.approx(most[0], rel=1e-3)  # it is that word almost alone
    assert most[1] == pytest.approx(most[0] + most[3])
    rarest = math.log(1 + (5 + 0.5) / 0.5)  # Lucene's, of a word that no passage has
    assert most[2] == pytest.approx(most[0] + rarest)


def test_ties_are_ordered_by_row_and_padded_by_the_lowest_unused_rows(tmp_path):
    texts = ["common words"] * 10 + ["rare thing"] + ["common words"] * 10
    bm25 = BM25.build(Store([("", text) for text in texts]), cache=tmp_path)
    scores, rows = bm25.search(["rare"], 4)
    assert rows.tolist() == [[10, 0, 1, 2]] and (scores[0, 1:] == 0).all() and scores[0, 0] > 0
    _, rows = bm25.search(["common"], 12)
    assert rows.tolist() == [[*range(10), 11, 12]]


@pytest.mark.parametrize("question", ["", "what is the", "unheard zyzzyva", "?!"])
def test_a_question_without_a_known_word_gets_the_first_rows_with_score_zero(
    store, tmp_path, question
):
    scores, rows = BM25.build(store, cache=tmp_path).search([question], 5)
    assert rows.tolist() == [[0, 1, 2, 3, 4]] and (scores == 0).all()


def test_result_depends_neither_on_the_other_questions_nor_on_top_k(store, tmp_path):
    bm25 = BM25.build(store, cache=tmp_path)
    scores, rows = bm25.search(QUESTIONS, 60)
    for position, question in enumerate(QUESTIONS):
        for top_k in (1, 7, 59):
            some_scores, some_rows = bm25.search([question], top_k)
            assert (some_rows[0] == rows[position, :top_k]).all()
            assert (some_scores[0] == scores[position, :top_k]).all()


def test_top_k_above_the_number_of_passages_returns_all(store, tmp_path):
    scores, rows = BM25.build(store, cache=tmp_path).search(QUESTIONS[:1], 1000)
    assert scores.shape == rows.shape == (1, 60)
    with pytest.raises(ArtError, match="top_k is 0"):
        BM25.build(store, cache=tmp_path).search(QUESTIONS, 0)


def test_titles_are_searched_and_single_letters_kept(tmp_path):
    bm25 = BM25.build(Store([("", "vitamin C"), ("Lemon", "vitamin K"), ("", "x")]), cache=tmp_path)
    _, rows = bm25.search(["vitamin k", "lemons", "vitamin c"], 1)
    assert rows.tolist() == [[1], [1], [0]]


def test_a_store_is_indexed_once(store, tmp_path, monkeypatch, capsys):
    first = BM25.build(store, cache=tmp_path).search(QUESTIONS, 9)
    assert "BM25S" not in capsys.readouterr().err  # the library's own bars

    def refuse(*_args: object) -> None:
        raise AssertionError("built twice")

    with monkeypatch.context() as patch:
        patch.setattr(lexical, "_build", refuse)
        again = BM25.build(store, cache=tmp_path).search(QUESTIONS, 9)
    assert (first[0] == again[0]).all() and (first[1] == again[1]).all()
    BM25.build(Store([("", "another store")]), cache=tmp_path)
    assert sum(path.is_dir() for path in (tmp_path / "bm25").iterdir()) == 2


@pytest.mark.parametrize(
    "name", ["data.csc.index.npy", "vocab.index.json", "params.index.json", "words.json"]
)
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damaged_files_are_built_again(store, tmp_path, name, damage, capsys):
    scores, rows = BM25.build(store, cache=tmp_path).search(QUESTIONS, 9)
    (path,) = tmp_path.glob(f"bm25/*/{name}")
    contents = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(contents[:-9])
    else:
        path.write_bytes(contents[:-9] + bytes([contents[-9] ^ 1]) + contents[-8:])
    again = BM25.build(store, cache=tmp_path)
    told = [line for line in capsys.readouterr().err.splitlines() if "note: " in line]
    assert len(told) == 1 and name in told[0] and "building it again" in told[0]
    assert path.read_bytes() == contents
    assert (again.search(QUESTIONS, 9)[0] == scores).all()
    assert (again.search(QUESTIONS, 9)[1] == rows).all()


def test_an_index_of_earlier_rules_is_not_opened(store, tmp_path):
    versions = [metadata.version(name) for name in ("bm25s", "PyStemmer")]
    earlier = fingerprint(
        store.fingerprint, "0.9", "0.4", r"\w+", "title text", "english", *versions
    )
    (tmp_path / "bm25" / earlier).mkdir(parents=True)
    assert BM25.build(store, cache=tmp_path).search(QUESTIONS, 1)[0].all()
    assert not list((tmp_path / "bm25" / earlier).iterdir())


def test_a_store_without_a_word_is_refused(tmp_path):
    with pytest.raises(ArtError, match="no passage has a word"):
        BM25.build(Store([("", "the"), ("", "...")]), cache=tmp_path)
    assert not [path for path in (tmp_path / "bm25").iterdir() if path.is_dir()]


SCRIPTS = {
    "hindi": (["यह एक कलम है", "किताब पढ़ो", "कितना तब बाकी"], "किताब कहाँ है"),
    "chinese": (["伦敦是英国的首都。", "巴黎是法国的首都。", "猫在屋顶上睡觉"], "法国首都是哪里？"),
    "japanese": (
        ["ロンドンはイギリスの首都", "パリはフランスの首都", "猫は寝る"],
        "ﾌﾗﾝｽの首都",
    ),
    "thai": (["ลอนดอนเป็นเมืองหลวงของอังกฤษ", "ปารีสเป็นเมืองหลวงของฝรั่งเศส", "แมว"], "ฝรั่งเศส"),
    "khmer": (["ឡុងដ៍", "ប៉ារីសជារដ្ឋធានីនៃប្រទេសបារាំង", "ឆ្មា"], "ប្រទេសបារាំង"),
    "korean": (["런던은 영국의 수도", "파리는 프랑스의 수도", "고양이"], "프랑스 수도"),
    "persian": (["لندن پایتخت", "پاریس را می\u200cخواهم", "گربه"], "میخواهم"),
    "decomposed": (
        ["the cafe\u0301", "the r\u00e9sum\u00e9", "the cafeteria"],
        "re\u0301sume\u0301",
    ),
    "mixed": (["Java的线程", "Python的GIL是全局锁", "the cat"], "什么是 python 的全局锁"),
    "one character": (["火和土", "冰由水组成", "the cat"], "水"),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_passage_that_is_meant_wins_in_every_script(script: str, tmp_path) -> None:
    texts, question = SCRIPTS[script]
    bm25 = BM25.build(Store([("", text) for text in texts]), cache=tmp_path)
    scores, rows = bm25.search([question], 3)
    assert rows[0, 0] == 1 and scores[0, 0] > scores[0, 1]


GERMAN = "Die Katze liegt auf dem Dach und schläft, weil sie nicht mit dem Hund spielen will."


def test_the_language_is_decided_on_the_corpus_said_and_kept(tmp_path, capsys, monkeypatch) -> None:
    store = Store([("", GERMAN), ("", "Das Haus ist nicht von der Stadt, und die Häuser auch.")])
    first = BM25.build(store, cache=tmp_path)
    assert first.language == "none" and "in German" in capsys.readouterr().err
    monkeypatch.setattr(lexical, "guess_language", None)  # not asked again
    again = BM25.build(store, cache=tmp_path)
    assert again.language == "none" and "--language" in capsys.readouterr().err
    stated = BM25.build(store, language="german", cache=tmp_path)
    assert stated.language == "german" and not capsys.readouterr().err.count("note")
    # Häusern is stemmed as the passage's words were; der is a stop word there.
    for bm25, found in [(stated, [1, 0]), (again, [0, 1])]:
        scores = [bm25.search([word], 2)[0] for word in ("Häusern", "der")]
        assert [np.count_nonzero(of) for of in scores] == found
    with pytest.raises(ArtError, match="did you mean german"):
        BM25.build(store, language="germann", cache=tmp_path)


def test_an_english_corpus_is_cut_as_english_without_a_word(store, tmp_path, capsys) -> None:
    assert BM25.build(store, cache=tmp_path).language == "english"
    assert "note" not in capsys.readouterr().err


def test_words_that_find_nothing_for_most_questions_are_no_use(store, tmp_path, capsys) -> None:
    bm25 = BM25.build(store, cache=tmp_path)
    chinese = ["桥在哪里", "月亮是什么", "河流有多长"]
    with pytest.raises(DataError, match="finds nothing for 3 of 4 questions"):
        bm25.check_use([*chinese, "rivers"])
    assert not bm25.check_use([*chinese, "rivers"], alone=False)
    assert "3 of 4 questions: they share no word with any passage; it is of no use" in (
        capsys.readouterr().err
    )
    assert bm25.check_use([*chinese[:1], "rivers", "engines"])
    assert "finds nothing for 1 of 3" in capsys.readouterr().err
    assert bm25.check_use(["rivers"]) and not capsys.readouterr().err
    assert share_words(store, ["rivers", "engines", chinese[0]])
    assert not share_words(store, [*chinese, "rivers"])
