"""What the models read: templates around passages and questions, and how they are cut to length.

Passages lose their text from its end first, then their title, which never vanishes; what the
template adds (special tokens, prefixes, instructions) is never cut.
"""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from art.data.encoding import TextEncoder, prompt_ids, special_ends
from art.data.pairs import Asked, Ids, Pair, PassagePart, joined
from art.errors import ConfigError, DataError
from art.files import fingerprint

PAPER_PASSAGE_PROMPT = "Passage: {passage} . Please write a question based on this passage."
PAPER_QUESTION_PREFIX = "Question: "
_PASSAGE = "{passage}"

Family = Literal["encoder-decoder", "causal"]


class RetrieverTemplate:
    """Token ids of passages and questions as a retriever's tower reads them.

    Passages are `[CLS] title [SEP] text [SEP]` where the tokenizer has a separator, and otherwise
    its single-text template around the title, a line break and the text; where a space joins them,
    that template around `title text`, read as one text. Without a title the text stands alone.
    Token types are always 0 (Hugging Face's pair encoding would give 1 to the text;
    DPR and ART were trained with 0), so ids are all there is.

    Args:
        tokenizer: a Hugging Face tokenizer with a Rust backend.
        max_length: tokens at most, special tokens included.
        prefix: text put before every passage or question, such as `"query: "`; special tokens in
            it are meant as such, those in a passage or question are plain text.
        append_eos: end with the end-of-sequence token, also where the text is cut.
        title_join: what stands between title and text: the `separator`, or a `space`.

    Raises:
        ConfigError: no room is left for a text, or the end-of-sequence token is missing.
    """

    fingerprint: str
    vocab_size: int

    def __init__(
        self,
        tokenizer: Any,
        *,
        max_length: int,
        prefix: str = "",
        append_eos: bool = False,
        title_join: Literal["separator", "space"] = "separator",
    ) -> None:
        self.max_length = max_length
        self._title_join = title_join
        self.prefix = prefix
        self.append_eos = append_eos
        self._encoder = TextEncoder(tokenizer, prefix=prefix)
        self._head, self._tail = special_ends(tokenizer)
        if append_eos:
            self._tail = _with_eos(self._tail, tokenizer)
        # Read as a special token where there is one; a line break belongs to the title's string,
        # because byte-level tokenizers merge it with the punctuation before it.
        has_separator = tokenizer.sep_token_id is not None
        self._separator = [int(tokenizer.sep_token_id)] if has_separator else []
        self._line_break = "" if has_separator else "\n"
        self._room = max_length - len(self._head) - len(self._tail)  # tokens
        if self._room <= self._encoder.prefix_length:
            raise ConfigError(
                f"a length of {max_length} tokens leaves no room for a text: special tokens and "
                f"prefix take {max_length - self._room + self._encoder.prefix_length}",
                hint="raise the length or shorten the prefix",
            )
        self.vocab_size = self._encoder.vocab_size
        self.fingerprint = fingerprint(
            "retriever template 1",
            self._encoder.fingerprint,
            repr((self._head, self._separator, self._line_break, self._tail, max_length, prefix)),
            *(["title space text"] if title_join == "space" else []),
        )

    def __call__(self, titles: list[str], texts: list[str]) -> list[list[int]]:
        """Return the token ids of each passage, cut to `max_length`.

        Args:
            titles: n titles; blank where a passage has none.
            texts: n texts.

        Returns:
            n lists of at most `max_length` token ids.
        """
        titled = [bool(title.strip()) for title in titles]
        if self._title_join == "space":
            rows = zip(titles, texts, titled, strict=True)
            # As one text: byte-level tokenizers read a word with the space before it.
            return self.questions([f"{title} {text}" if has else text for title, text, has in rows])
        # Behind the prefix stands what comes first, a title or the text of a passage without one.
        first = self._encoder.prefixed(
            [
                title + self._line_break if has else text
                for title, text, has in zip(titles, texts, titled, strict=True)
            ]
        )
        second = self._encoder(
            [text if has else "" for text, has in zip(texts, titled, strict=True)]
        )
        return [
            self._passage(one, text) if has else self._alone(one)
            for one, text, has in zip(first, second, titled, strict=True)
        ]

    def num_cut(self, titles: list[str], texts: list[str]) -> int:
        """Return how many of n passages, or questions without titles, lose tokens to the length."""
        uncut = copy.copy(self)
        uncut._room = sys.maxsize
        return sum(len(row) > self.max_length for row in uncut(titles, texts))

    def _passage(self, title: list[int], text: list[int]) -> list[int]:
        title = title[: self._room]
        between = self._separator if title else []
        text = text[: max(self._room - len(title) - len(between), 0)]
        if not text:
            between = []
        return [*self._head, *title, *between, *text, *self._tail]

    def questions(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each question, `[CLS] question [SEP]`, cut to `max_length`.

        Args:
            texts: n questions.

        Returns:
            n lists of at most `max_length` token ids.
        """
        return [self._alone(row) for row in self._encoder.prefixed(texts)]

    def _alone(self, text: list[int]) -> list[int]:
        return [*self._head, *text[: self._room], *self._tail]


class LikelihoodTemplate(PassagePart):
    """Context and target of a frozen language model that is asked for a passage's question.

    The pieces are tokenised apart, cut at spaces, and give the same ids as the whole prompt would
    at once; so passages are tokenised once for all questions and no token spans the border between
    context and target.

    Args:
        tokenizer: a Hugging Face tokenizer with a Rust backend.
        family: `encoder-decoder`, the target is decoded, or `causal`, it continues the prompt.
        passage_prompt: text with `{passage}` once; None for the paper's.
        question_prefix: text before the question; None for the paper's.
        max_length: tokens of the context at most; the passage is cut, the instruction never.
        question_length: tokens of the target at most.
        chat_template: put the prompt into the user's turn of the tokenizer's chat template; the
            assistant's turn begins with the question prefix.

    Attributes:
        prompt: the text of the whole context, `{passage}` standing for the passage. Given back as
            `passage_prompt` with an empty `question_prefix` it makes the same contexts, whatever
            date a chat template would insert today.
        longest: tokens of a pair at most.
        question_prefix: text before the question.

    Raises:
        ConfigError: the prompt lacks `{passage}`, leaves no room, or there is no chat template.
    """

    prompt: str
    default_prompt: ClassVar[str] = PAPER_PASSAGE_PROMPT
    placeholders: ClassVar[tuple[str, ...]] = (_PASSAGE,)

    def __init__(
        self,
        tokenizer: Any,
        *,
        family: Family,
        passage_prompt: str | None = None,
        question_prefix: str | None = None,
        max_length: int = 512,
        question_length: int = 128,
        chat_template: bool = False,
    ) -> None:
        prompt = self.default_prompt if passage_prompt is None else passage_prompt
        prefix = PAPER_QUESTION_PREFIX if question_prefix is None else question_prefix
        self.family = family
        self.max_length = max_length
        self.question_length = question_length
        self.longest = max_length + question_length
        self.question_prefix = prefix
        if family == "causal":
            self.prompt = _causal_prompt(tokenizer, prompt, prefix.strip(), chat_template)
            self._target_prefix, self._target_tail = "", []
        elif chat_template:
            raise ConfigError("chat templates are for decoder-only teachers")
        else:
            self.prompt = prompt
            self._target_prefix, self._target_tail = prefix, _with_eos([], tokenizer)
        self._target_after_space = family == "causal" and not self.prompt[-1:].isspace()
        literals, self._slots = _around_slots(self.prompt, self.placeholders)
        pieces, spaced = _pieces(tokenizer, literals, family)
        self._pieces = [*map(joined, pieces)]
        self._after_space = dict(zip(self._slots, spaced, strict=True))
        encoder = TextEncoder(tokenizer, prefix=self._target_prefix)
        super().__init__(encoder, after_space=self._after_space[_PASSAGE])
        self._room = max_length - sum(map(len, self._pieces))  # tokens
        if self._room < 1 or question_length <= len(self._target_tail):
            raise ConfigError(
                f"{max_length} tokens of context and {question_length} of question leave no room: "
                f"the instruction takes {max_length - self._room} of the context",
                hint="raise the lengths or shorten the prompt",
            )

    def context(self, passage_ids: Ids, question_ids: Ids = ()) -> list[int]:
        """Return the teacher's whole input before the target, at most `max_length` token ids.

        Args:
            passage_ids: what `passages` gave for the passage.
            question_ids: where the prompt has a place for the question, its token ids.
        """
        return [*map(int, self._context(passage_ids, question_ids))]

    def _context(self, passage_ids: Ids, question_ids: Ids) -> NDArray[np.int32]:
        passage = passage_ids[: self._room - len(question_ids)]
        parts: list[Ids] = [self._pieces[0]]
        for slot, piece in zip(self._slots, self._pieces[1:], strict=True):
            parts += [passage if slot == _PASSAGE else question_ids, piece]
        return joined(*parts)

    def target(self, question: str) -> list[int]:
        """Return the token ids whose likelihood is the score, at most `question_length`.

        Raises:
            DataError: nothing of the question is left after tokenising.
        """
        text = [question.strip()]
        if self.family == "causal":
            (ids,) = self._encoder(text, after_space=self._target_after_space)
        else:
            (ids,) = self._encoder.prefixed(text)
        if not ids:
            raise DataError(f"no tokens are left of {question!r}", hint="remove it")
        return [*ids[: self.question_length - len(self._target_tail)], *self._target_tail]

    def asked(self, question: str) -> Asked:
        """Return what a pair's ids take from the question; arrays of int32.

        Raises:
            DataError: nothing of the question is left after tokenising.
        """
        return Asked(joined(), joined(self.target(question)))

    def pair(self, asked: Asked, passage_ids: Ids) -> Pair:
        """Return what the teacher reads of a question and a passage; arrays of int32.

        Args:
            asked: what `asked` gave for the question.
            passage_ids: what `passages` gave for the passage.
        """
        return Pair(self._context(passage_ids, asked.question), asked.target)


def _causal_prompt(tokenizer: Any, prompt: str, prefix: str, chat_template: bool) -> str:
    """Return the context's text, question prefix included, for a decoder-only teacher."""
    if not chat_template:
        return f"{prompt} {prefix}" if prefix else prompt
    if not tokenizer.chat_template:
        raise ConfigError(
            "the teacher's tokenizer has no chat template", hint="set chat_template: false"
        )
    turn = [{"role": "user", "content": prompt}]
    rendered = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    return str(rendered) + prefix


def _around_slots(prompt: str, placeholders: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Return a prompt's texts around its placeholders, one more than those, and their order."""
    for placeholder in placeholders:
        if prompt.count(placeholder) != 1:
            raise ConfigError(
                f"the passage prompt must contain {placeholder} exactly once, not {prompt!r}"
            )
    parts = re.split(f"({'|'.join(map(re.escape, placeholders))})", prompt)
    return parts[::2], parts[1::2]


def _pieces(
    tokenizer: Any, literals: Sequence[str], family: Family
) -> tuple[list[list[int]], list[bool]]:
    """Return the ids of a prompt's texts, and whether a space precedes each slot between them.

    A space at a border belongs to what is behind it; any other border is tokenised apart.
    """
    first, last = special_ends(tokenizer)
    pieces, spaced = [], []
    for number, literal in enumerate(literals):
        after_space = number > 0 and literal.startswith(" ")
        text = literal.removeprefix(" ") if after_space else literal
        gives_space = literal.endswith(" ") and (number > 0 or literal != " ")
        if gives_space and number < len(literals) - 1:
            spaced.append(True)
            text = text.removesuffix(" ")
            after_space = after_space and text != ""
        elif number < len(literals) - 1:
            spaced.append(False)
        pieces.append(prompt_ids(tokenizer, text, after_space=after_space))
    if pieces[0][: len(first)] != first:  # a chat template writes its own beginning of sequence
        pieces[0] = [*first, *pieces[0]]
    if family == "encoder-decoder":
        pieces[-1] = [*pieces[-1], *last]
    return pieces, spaced


def _with_eos(tail: list[int], tokenizer: Any) -> list[int]:
    """Return `tail` ending in the end-of-sequence token, added where it is not there already."""
    eos = tokenizer.eos_token_id
    if eos is None:
        raise ConfigError(
            "the tokenizer has no end-of-sequence token",
            hint="choose another model, or for a retriever another pooling than last",
        )
    return tail if tail[-1:] == [eos] else [*tail, int(eos)]


def lacks_end(tokenizer: Any) -> bool:
    """Return whether the tokenizer itself puts no special token behind a text."""
    return not special_ends(tokenizer)[1]
