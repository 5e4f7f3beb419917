"""Answer match against a plain reading of its definition, one character at a time."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from art.data.answers import AnswerMatcher, has_answer, needs_characters, tokenize
from art.data.formats import Passage, Question
from art.errors import DataError
from art.evaluation.answers import matcher_of

# Letters whose case, decomposition or class is unusual, so that random texts meet often.
TRICKY = "aAbß éE\u0301ΑΣσς'İiıǅﬁ½²٣中の한\u200b\u00ad\u0345\u3000-.,$€\n\t\0_🙂ᾳ"
words = st.text(st.one_of(st.sampled_from(TRICKY), st.characters(exclude_categories=["Cs", "Cn"])))


def plain_tokens(text: str) -> list[str]:
    tokens, run = [], ""
    for character in unicodedata.normalize("NFD", text):
        kind = unicodedata.category(character)[0]
        if kind in "LNM":
            run += character
            continue
        if run:
            tokens.append(run.lower())
            run = ""
        if kind not in "ZC":
            tokens.append(character.lower())
    return [*tokens, run.lower()] if run else tokens


def plain_match(text: str, answers: list[str]) -> bool:
    tokens = plain_tokens(text)
    for answer in answers:
        wanted = plain_tokens(answer)
        starts = range(len(tokens) - len(wanted) + 1)
        if wanted and any(tokens[i : i + len(wanted)] == wanted for i in starts):
            return True
    return False


def dpr_match(text: str, answers: list[str]) -> bool:
    return AnswerMatcher([answers]).matches(0, text)


def test_every_character_falls_into_the_token_its_category_says():
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code)) not in ("Cn", "Cs"):
            text = f"a{chr(code)}B"
            assert tokenize(text) == plain_tokens(text), hex(code)


@given(words)
def test_random_text_is_tokenised_as_defined(text: str):
    assert tokenize(text) == plain_tokens(text)


@settings(max_examples=400)
@given(st.data())
def test_random_answers_are_found_exactly_where_defined(data: st.DataObject):
    text = data.draw(words)
    start = data.draw(st.integers(0, len(text)))
    cut = text[start : data.draw(st.integers(start, len(text)))]
    answers = data.draw(st.lists(st.one_of(words, st.just(cut), st.just(cut.upper())), max_size=3))
    assert dpr_match(text, answers) == plain_match(text, answers)


@given(words, words, words)
@example("", "ΑΣ", "'Α")  # this sigma is final alone, but not before an apostrophe and a letter
@example("ΟΔΟΣ ", "ΟΔΟΣ", ".")
def test_a_piece_between_two_others_is_found_as_defined(before: str, answer: str, after: str):
    text = before + answer + after
    assert dpr_match(text, [answer]) == plain_match(text, [answer])


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        ("He was born in Paris, France.", "paris", True),
        ("He was born in Paris, France.", "Paris France", False),  # the comma is a token
        ("He was born in Paris, France.", "Paris , France", True),
        ("He was born in Parisian suburbs", "Paris", False),  # tokens, not substrings
        ("the New York Times", "new  york", True),
        ("the New York Times", "York New", False),
        ("the New big York", "New York", False),
        ("caf\u00e9 society", "cafe\u0301", True),  # composed and decomposed are one
        ("cafe society", "caf\u00e9", False),  # the accent counts
        ("in the U.S. today", "U.S.", True),
        ("in the US today", "U.S.", False),
        ("in the U.S. today", "U.S", True),
        ("in the U. S. today", "U.S.", True),  # white space parts no more than the tokens do
        ("costs $5.50 now", "$5.50", True),
        ("costs 5.500", "5.50", False),
        ("在北京举行", "北京", False),  # one run of letters: DPR's protocol has no Chinese words
        ("北京 举行", "北京", True),
        ("x\u0301yz", "x", False),  # a mark belongs to its letter
        ("zero\u200bwidth", "zero", True),  # a format character parts tokens
        ("soft\u00adhyphen", "soft hyphen", True),
        ("STRASSE", "straße", False),  # lower case, no case folding
        ("snake_case", "snake", True),  # the underscore is punctuation
        ("x² + y²", "x²", True),
        ("e.g. 🙂!", "🙂", True),
        ("anything", "", False),
        ("anything", " \u200b\n", False),
        ("", "a", False),
        ("", "", False),
    ],
)
def test_hand_cases(text: str, answer: str, found: bool):
    assert dpr_match(text, [answer]) is found
    assert plain_match(text, [answer]) is found


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        ("巴黎是法国的首都。", "巴黎", True),
        ("巴黎是法国的首都。", "首都", True),
        ("巴黎是法国的首都。", "黎巴", False),
        ("中华人民共和国成立于1949年10月", "1949年", True),
        ("中华人民共和国成立于1949年10月", "194年", False),  # a number stays whole
        ("２００８年北京オリンピック", "2008年", True),  # full width
        ("パリはフランスの首都", "ﾊﾟﾘ", True),  # half width
        ("がく", "がく", True),  # composed or not
        ("がく", "かく", False),  # the mark counts
        ("กรุงเทพมหานครเป็นเมืองหลวง", "กรุงเทพ", True),
        ("ก่อน", "ก", False),  # a mark belongs to its letter
        ("ນະຄອນຫຼວງວຽງຈັນ", "ວຽງຈັນ", True),
        ("ភ្នំពេញជារាជធានី", "ភ្នំពេញ", True),
        ("ရန်ကုန်မြို့သည်", "ရန်ကုန်", True),
        ("발표는 서울에서", "서울", True),  # with its particle
        (unicodedata.normalize("NFD", "서울은"), "서울", True),
        ("동물은", "물", False),  # not from the middle of a Korean word
        ("각", "가", False),  # syllables, not their letters
        ("用iPhone拍照", "iPhone拍照", True),
        ("用iPhones拍照", "iPhone拍", False),
        ("巴黎 · 法国", "巴黎法国", False),  # a symbol counts, as in DPR
    ],
)
def test_scripts_without_spaces_are_matched_by_characters(text, answer, found):
    assert has_answer(text, [answer]) is found


def test_what_is_matched_by_characters_is_the_question_or_the_corpus():
    assert needs_characters("法国的首都是哪里", ["1949"])
    assert needs_characters("iPhone是哪年发布的", ["2007"])
    assert needs_characters("capital of France?", ["巴黎"])
    assert not needs_characters(
        "Who rules Japan?", ["the emperor", "天皇"]
    )  # as TriviaQA's aliases
    assert not needs_characters("What does the character 好 mean?", ["good"])
    chinese = [Passage(str(row), "", "成立于1949年十月一日") for row in range(3)]
    english = [Passage(str(row), "", "founded in 1949年") for row in range(3)]
    question = Question("q", "when?", ("1949",))
    assert matcher_of([question], chinese).matches(0, chinese[0].text)
    assert not matcher_of([question], english).matches(0, english[0].text)


def test_any_answer_is_enough_and_none_is_a_miss():
    assert has_answer("a b c", ["x", "b c"])
    assert not has_answer("a b c", [])


def test_answers_without_a_token_are_misses_and_are_counted():
    matcher = AnswerMatcher([["", "moon"], ["sun"], [" ", "\u200b"]])
    assert matcher.empty == [0, 2, 2]
    assert matcher.matches(0, "the moon") and not matcher.matches(2, "the \u200b moon")
    nothing = AnswerMatcher([["\u0640"]], by_characters=[True])  # a stretched line of no word
    assert nothing.empty == [0] and not nothing.matches(0, "")


def test_questions_keep_their_own_answers():
    matcher = AnswerMatcher([["moon"], ["sun"]])
    assert [matcher.matches(q, "the sun") for q in (0, 1)] == [False, True]


@pytest.mark.parametrize(
    ("text", "pattern", "found"),
    [
        ("In 1969, Armstrong", r"neil|armstrong", True),
        ("line\nApollo 11", r"^apollo \d+$", True),
        ("ma\u00f1ana", "man\u0303ana", True),
        ("December 7", r"Dec(ember)? 7(th)?\b", True),
        ("anything", " ", False),
        ("anything", "", False),
        ("a.b", "a b", False),
    ],
)
def test_regular_expressions_are_searched(text: str, pattern: str, found: bool):
    assert has_answer(text, [pattern], regex=True) is found


def test_an_invalid_regular_expression_is_named():
    with pytest.raises(DataError, match=r"\(unclosed"):
        has_answer("text", ["(unclosed"], regex=True)


def test_rooms_without_models_load_no_torch():
    program = (
        "import sys, art.evaluation.answers, art.evaluation.metrics, art.evaluation.statistics\n"
        "import art.evaluation.runs, art.report.tables\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
