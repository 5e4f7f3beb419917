"""Scripts: one spelling for each character, and which scripts put no spaces between words.

A text in which every character is of `_EVERYDAY` has one spelling and spaces already; it is told
apart in one pass of a regular expression, so that English and its neighbours pay for nothing else.

Source: Unicode 17, UAX #15 (NFC), UAX #14 (line breaking without spaces), UAX #24 (scripts).
"""

from __future__ import annotations

import re
import unicodedata

import regex as unicode_regex

# Latin letters up to U+02FF and those of Vietnamese, Greek and Cyrillic letters, punctuation,
# currencies, arrows and symbols: no marks, no joiners, nothing that NFC changes but spaces and
# brackets. Not İ, whose lower case has a mark.
_EVERYDAY = (
    "\\x00-\u012f\u0131-\u02ff\u0386\u0388-\u0482\u048a-\u052f\u1e00-\u1eff"
    "\u2000-\u200b\u200e-\u20cf\u2190-\u2bff"
)
_BEYOND = re.compile(f"[^{_EVERYDAY}]")

# Common to several scripts, but letters of Japanese: 〆, repetition, 〼, the long vowel.
_JAPANESE_LETTERS = "\u3006\u3031-\u3035\u303c\u30fc"
_UNSPACED_SCRIPTS = """
    Han Hiragana Katakana Bopomofo Yi Thai Lao Khmer Myanmar
    Tai_Le New_Tai_Lue Tai_Tham Tai_Viet Ahom Javanese Balinese
"""
_UNSPACED_LETTERS = "".join(rf"\p{{Script={name}}}" for name in _UNSPACED_SCRIPTS.split())
# Not their digits: a number is a word in every script.
UNSPACED = rf"[[\p{{L}}\p{{Nl}}]&&[{_UNSPACED_LETTERS}{_JAPANESE_LETTERS}]]"
"""A pattern of the regex package, version 1: a letter of a script without spaces."""
HANGUL = r"[\p{L}&&\p{Script=Hangul}]"
"""Korean letters: words have spaces between them, but their particles are written on to them."""

RUN_ON = f"[{UNSPACED}||{HANGUL}]"
"""Either."""

_RUN_ON = unicode_regex.compile(f"(?V1){RUN_ON}")
# They all stand here; it is far sooner looked for than what they are.
_FROM_THAI_ON = re.compile("[\u0e00-\u1fff\u2c00-\U0010ffff]")
_LETTER = unicode_regex.compile(r"[\p{L}\p{Nl}]")

# Full-width letters and digits, half-width kana and Hangul; letters in the shape of their place in
# an Arabic word, which text taken from pages has.
_OTHER_SHAPES = re.compile("[\uff01-\uff5e\uff61-\uffdc\ufb50-\ufdff\ufe70-\ufefc]+")
# What a writer may leave out of a word and it stays the word: joiners and variation selectors,
# Arabic vowel signs and the stretched line, Hebrew points.
_OPTIONAL = re.compile(
    "[\u034f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0640\u064b-\u0652\u0670"
    "\u180b-\u180d\u180f\u200c\u200d\u2060\ufe00-\ufe0f\ufeff\U000e0100-\U000e01ef]+"
)
# The space without width, by which some texts part Thai or Khmer words and others do not.
_THIN_SPACE = unicode_regex.compile(rf"(?V1)(?<={UNSPACED}\p{{M}}*)\u200b+(?={UNSPACED})")
_DOTTED = "i\u0307"  # the lower case of İ in all languages but its own


def is_everyday(text: str) -> bool:
    """Return whether each character is one that `lower_case` would not change but for its case."""
    return text.isascii() or _BEYOND.search(text) is None


def lower_case(text: str) -> str:
    """Return a text in lower case in which what reads the same is spelled the same.

    Composed characters (NFC), letters of one width and shape, no joiners and optional vowel points.
    """
    if is_everyday(text):
        return text.lower()
    text = _OTHER_SHAPES.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    text = unicodedata.normalize("NFC", text)
    text = _OPTIONAL.sub("", text)
    if "\u200b" in text:
        text = _THIN_SPACE.sub("", text)
    return text.lower().replace(_DOTTED, "i")


def runs_on(text: str) -> bool:
    """Return whether a text has a letter that runs on: of a script without spaces, or Korean."""
    return _FROM_THAI_ON.search(text) is not None and _RUN_ON.search(text) is not None


def num_run_on(text: str) -> int:
    """Return how many letters of a text run on."""
    return len(_RUN_ON.findall(text)) if runs_on(text) else 0


def run_on_share(text: str) -> float:
    """Return the share of a text's letters that run on; 0 for a text without letters."""
    found = num_run_on(text)
    return found / len(_LETTER.findall(text)) if found else 0.0


def scripts_of(text: str) -> set[str]:
    """Return what the letters of a text are, such as `latin`, `cjk` and `hiragana`."""
    letters = filter(str.isalpha, set(unicodedata.normalize("NFKC", text)))
    names = {unicodedata.name(letter, "").partition(" ")[0].lower() for letter in letters}
    return names - {"", "modifier", "katakana-hiragana"}  # the last two are of several scripts
