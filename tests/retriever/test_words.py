"""BM25's words in many scripts: English exactly as ever, marks kept, two characters in a row."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from art.data.scripts import is_everyday, lower_case
from art.errors import ConfigError
from art.retriever.languages import check_language, guess_language, languages
from art.retriever.words import WordCutter, split_words

# İ is not among them: its lower case has a mark, which parted the word.
LATIN = "".join(chr(code) for code in range(0x250) if code != 0x130)
SYMBOLS = "’“”–—…€™→☃½²αΣςёЖ\u200b" + " _-.0123456789" * 5
LATIN_TEXT = st.text(st.sampled_from(LATIN + SYMBOLS))


def old_words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


@given(LATIN_TEXT)
@example("don’t use snake_case — it’s ½ of x²")
def test_latin_text_has_the_words_it_always_had(text: str) -> None:
    assert split_words(text) == split_words(text, singles=True) == old_words(text)


@given(LATIN_TEXT)
def test_the_rule_for_all_scripts_says_the_same_of_latin_text(text: str) -> None:
    # One letter of another script takes the text the long way.
    assert split_words(f"{text} ა") == [*old_words(text), "ა"]


def test_no_everyday_character_is_one_that_is_spelled_in_several_ways() -> None:
    for character in map(chr, range(sys.maxunicode + 1)):
        if is_everyday(character):
            lower = character.lower()
            assert not any(unicodedata.category(one).startswith("M") for one in lower), character
            assert unicodedata.is_normalized("NFC", lower) or not lower.isalnum(), character


def test_no_letter_or_digit_of_any_script_is_lost() -> None:
    for start in range(0, 0x20000, 1024):  # joined, which is faster
        spelled = map(lower_case, map(chr, range(start, start + 1024)))
        letters = [one for one in spelled if len(one) == 1 and re.match(r"\w", one)]
        assert len(split_words(" ".join(letters))) == len(letters), hex(start)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("किताब पढ़ो", ["किताब", "पढ़ो"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("می‌خواهم", ["میخواهم"]),
        ("كِتَابٌ كتـــاب ﻛﺘﺎﺏ", ["كتاب", "كتاب", "كتاب"]),
        ("שָׁלוֹם", ["שלום"]),
        ("e\u0301cole École", ["école", "école"]),
        ("Москва́ ёж", ["москва́", "ёж"]),
        ("İstanbul", ["istanbul"]),
        ("巴黎是法国的首都。", ["巴黎", "黎是", "是法", "法国", "国的", "的首", "首都"]),
        ("水", ["水"]),
        ("Python的GIL", ["python", "的", "gil"]),
        ("コンピューター", ["コン", "ンピ", "ピュ", "ュー", "ータ", "ター"]),
        ("ｺﾝﾋﾟ ２００８", ["コン", "ンピ", "2008"]),
        ("か\u3099く", ["がく"]),
        ("ภาษาไทย", ["ภา", "าษ", "ษา", "าไ", "ไท", "ทย"]),
        ("มี\u200bน้ำ", ["มีน้", "น้ำ"]),
        ("ຂ້ອຍ", ["ຂ້ອ", "ອຍ"]),
        ("ខ្មែរ", ["ខ្មែ", "មែរ"]),
        ("မြန်မာ", ["မြန်", "န်မာ"]),
        ("서울은", ["서울", "울은"]),
        ("༄༅ བོད་ཡིག", ["བོད", "ཡིག"]),
        ("ok ❤️ 1️⃣ 👩‍💻", ["ok", "1"]),
        ("๒๕๖๗", ["๒๕๖๗"]),
    ],
)
def test_words_of_other_scripts(text: str, expected: list[str]) -> None:
    assert split_words(text) == expected
    assert split_words(unicodedata.normalize("NFD", text)) == expected


def test_passages_hold_single_characters_for_questions_of_one() -> None:
    assert set(split_words("水由氢", singles=True)) == {"水", "由", "氢", "水由", "由氢"}


TEXTS = {
    "german": "Die Katze liegt auf dem Dach und schläft, weil sie nicht mit dem Hund spielen will. "
    "Das ist ein Problem für den Hund, der sich eine Wurst von der Küche holt.",
    "french": "Le chat est sur le toit et il dort, parce que le chien ne veut pas jouer avec lui "
    "dans la cour. C'est un des chats qui vivent dans la maison du village.",
    "indonesian": "Kucing itu tidur di atap dan anjing tidak bermain dengan kucing yang tidur. Ini "
    "adalah rumah dari orang yang pergi untuk bekerja pada hari itu dalam kota.",
    "polish": "Kot śpi na dachu i nie chce się bawić z psem, który jest w domu. To jest kot, że "
    "nikt go nie widział od rana do wieczora przez cały dzień.",
    "hungarian": "A macska a tetőn alszik, és nem akar a kutyával játszani, mert az nagy állat. "
    "A ház is a falu szélén van, hogy a gyerekek a kertben játsszanak, és a nap süt.",
    "portuguese": "O gato dorme a sesta no telhado e não quer a bola do cão, que é de uma casa da "
    "vila. Os donos dos animais foram a pé para a praia com uma toalha.",
    "danish": "Katten sover på taget, og det er ikke for hunden at lege med den. En kat er et dyr "
    "som har en vilje til at være fri, og det er godt for den.",
    "vietnamese": "Con mèo ngủ trên mái nhà và không muốn chơi với con chó của các em. Một con chó "
    "là bạn của những người được sống trong làng.",
    "dutch": "De kat ligt op het dak en wil niet met de hond spelen, want het is een dier van de "
    "buren of van een kind. Dat is in de stad niet goed voor een kat.",
    "russian": "Кошка спит на крыше и не хочет играть с собакой во дворе.",
    "chinese": "巴黎是法国的首都。猫在屋顶上睡觉，不想和狗玩。",
    "hindi": "बिल्ली छत पर सो रही है और कुत्ते के साथ खेलना नहीं चाहती।",
}


@pytest.mark.parametrize("language", TEXTS)
def test_another_language_takes_no_english_rules(language: str) -> None:
    guessed, seems = guess_language(split_words(TEXTS[language]))
    assert guessed == "none" and seems
    if TEXTS[language].isascii() or language in ("german", "french", "polish", "hungarian"):
        assert language.capitalize() in seems


@pytest.mark.parametrize(
    "text",
    [
        "The cat sleeps on the roof, and the dog does not play with it.",
        "common words rare thing vitamin C engines of rivers",  # a few words say nothing
        "def get_text(self, x, y, e, o): return x / y",
        "iPhone 15 Pro Max 256GB blue, USB-C cable 2 m, case red",
        "café naïve résumé façade the of and",
        "",
        "12 345 678",
    ],
)
def test_english_and_what_nobody_can_tell_stay_english(text: str) -> None:
    assert guess_language(split_words(text)) == ("english", "")


def test_a_corpus_of_two_languages_keeps_english() -> None:
    english = "The cat sleeps on the roof of the house and the dog is in the garden with a ball. "
    mixed = split_words(3 * english + TEXTS["german"] + TEXTS["chinese"])
    assert guess_language(mixed) == ("english", "")


def test_a_stated_language_brings_its_own_stop_words_and_stemmer() -> None:
    assert WordCutter("german")("Die Häuser und die Katzen") == ["haus", "katz"]
    assert WordCutter("russian")("книги") == WordCutter("russian")("книга")
    assert WordCutter("none")("the houses") == ["the", "houses"]
    assert WordCutter("english")("the houses 巴黎 किताब") == ["hous", "巴黎", "किताब"]


def test_an_unknown_language_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean german"):
        check_language("germn")
    assert {"english", "german", "none"} <= set(languages())
