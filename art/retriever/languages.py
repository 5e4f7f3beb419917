"""The language of a corpus, as far as BM25 asks: whose stop words and stemmer, or none.

English unless the corpus is plainly something else: of its words hardly any in Latin letters, or
among those the commonest little words of another language far oftener than those of English.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable
from functools import cache
from typing import Any

import regex as unicode_regex

from art.errors import ConfigError

NO_LANGUAGE = "none"
ENGLISH = "english"

_LATIN_WORD = unicode_regex.compile(r"\p{Script=Latin}")
_LEAST_LATIN = 0.1  # share of the words; below, it is a text in another script
_LEAST_WORDS = 5  # little words of another language, at least, for it to be plain
_LEAST_SHARE = 0.1  # of the Latin words; in running text they are a fifth to a third
_OFTENER = 2  # than the little words of English
_ACCENTED_SHARE = 0.2  # of words with letters that English lacks, where the language is not below
_RARE_ENGLISH = 0.05

# The commonest little words of languages in Latin letters: of English without those that are as
# common in others (a, is, in, to), of the others without those of English.
_LITTLE_WORDS = {
    ENGLISH: "the of and that with for are by this from it which not were have",
    "afrikaans": "die en van het nie wat vir met een sy hulle ons",
    "albanian": "dhe të në një për që nga është si",
    "basque": "eta da du ez bat ere dira izan zen",
    "catalan": "el els les amb per una que dels del és va com",
    "croatian": "je na se da za od su koji što kao nije bio",
    "czech": "v na se je že které který jako pro byl jsou nebo ale",
    "danish": "og det en af er på til med ikke som den et har de",
    "dutch": "de het een van en met niet zijn voor worden ook wordt bij dat",
    "esperanto": "la kaj de en estas al por kun ne kiu",
    "estonian": "ja ei oli see et kui ka mis olid selle",
    "finnish": "ja ei se että oli hän mutta myös ovat joka kun sen",
    "french": "le la les et des une est dans du que qui par pas avec au aux en un",
    "german": "der das und nicht ist ein eine mit von auf dem des sich auch wird im zu",
    "hungarian": "az és hogy nem egy volt azt csak ez vagy mint el",
    "icelandic": "og að í á er sem til var við um það",
    "indonesian": "yang dan di dengan untuk dari pada dalam ini itu adalah tidak",
    "irish": "agus na ar ag bhí tá go sé mar",
    "italian": "il di che la della per un una del non sono è dei nel alla gli le",
    "latvian": "un ir kas par tas bija uz kā arī gada",
    "lithuanian": "ir yra į kad su iš kaip bet buvo jis",
    "norwegian": "og det er på til av med som ikke en den et har de",
    "polish": "w z na się do nie jest że oraz od przez jako był",
    "portuguese": "de da dos das em um uma não para com por que mais ao e os",
    "romanian": "și în de la cu care din pe este un să nu pentru",
    "slovak": "v na sa je že ktoré ktorý ako pre bol sú alebo",
    "slovenian": "je za na se da ki bil ali kot v ga",
    "somali": "waa iyo ka ku oo la waxaa ayaa ah",
    "spanish": "el la los las del que en una por con para es se su como más y de",
    "swahili": "ya na wa kwa ni katika za la kuwa cha yake",
    "swedish": "och att det som en är på med av för den till inte ett de",
    "tagalog": "ang ng sa mga na ay ni si kung",
    "turkish": "ve bir bu için ile de da olarak olan çok gibi",
    "vietnamese": "và của là các có trong được một cho những không với",
    "welsh": "yn y yr ac mae oedd wedi gan ei",
}


@cache
def languages() -> list[str]:
    """Return the names of the languages that there is a stemmer for, and `none`."""
    import Stemmer

    return [*Stemmer.algorithms(), NO_LANGUAGE]


def check_language(name: str) -> None:
    """Raise a ConfigError that names the nearest language unless there is a stemmer for this one.

    Raises:
        ConfigError: there is none.
    """
    if name in languages():
        return
    near = difflib.get_close_matches(name, languages(), n=1, cutoff=0.5)
    raise ConfigError(
        f"no stemmer is there for the language {name!r}",
        hint=(f"did you mean {near[0]}? " if near else "")
        + f"it is one of {', '.join(languages())}; none is right for scripts without spaces",
    )


def stemmer_of(language: str) -> Any:
    """Return the stemmer of a language.

    Raises:
        ConfigError: there is none.
    """
    import Stemmer

    check_language(language)
    return Stemmer.Stemmer(language)


def stop_words_of(language: str) -> frozenset[str]:
    """Return the words of a language that are not searched for; none where no list is known."""
    from bm25s import stopwords

    # The long list of English, which holds the question words; Porter's is a stemmer of English.
    name = "EN_PLUS" if language in (ENGLISH, "porter") else language.upper()
    return frozenset(getattr(stopwords, f"STOPWORDS_{name}", ()))


def little_words(words: Iterable[str]) -> dict[str, int]:
    """Return how many different ones of each language's commonest little words there are.

    Args:
        words: in lower case.
    """
    there = set(words)
    return {name: len(there.intersection(little.split())) for name, little in _LITTLE_WORDS.items()}


def guess_language(words: Iterable[str]) -> tuple[str, str]:
    """Return what stop words and stemmer suit, and why where it is not English.

    Args:
        words: of a sample of the passages, in lower case.

    Returns:
        `english` or `none`, and what the passages seem to be, such as `in German`.
    """
    counts = Counter(words)
    latin = {word: count for word, count in counts.items() if _LATIN_WORD.match(word)}
    letters = sum(count for word, count in counts.items() if not word.isdecimal())
    total = sum(latin.values())
    if letters and total < _LEAST_LATIN * letters:
        return NO_LANGUAGE, "in another script than the Latin"
    found = {
        language: sum(latin.get(word, 0) for word in little.split())
        for language, little in _LITTLE_WORDS.items()
    }
    english = found.pop(ENGLISH)
    nearest = max(found, key=lambda language: found[language])
    least = max(_LEAST_WORDS, _LEAST_SHARE * total, _OFTENER * english)
    if found[nearest] >= least:
        return NO_LANGUAGE, f"in {nearest.capitalize()} or a language near it"
    accented = sum(count for word, count in latin.items() if not word.isascii())
    if accented >= max(_LEAST_WORDS, _ACCENTED_SHARE * total) and english < _RARE_ENGLISH * total:
        return NO_LANGUAGE, "in another language than English"
    return ENGLISH, ""
