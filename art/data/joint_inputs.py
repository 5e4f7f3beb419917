"""What teachers read that see question and passage together: a prompt for the answer, a text pair.

Of both the passage alone is cut; a question that leaves no room for one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from art.data.encoding import TextEncoder
from art.data.pairs import Asked, Ids, Pair, PassagePart, joined
from art.data.prompts import Family, LikelihoodTemplate
from art.errors import ArtError, DataError
from art.files import fingerprint

ANSWER_PROMPT = "Passage: {passage} . Question: {question} Answer:"

# Its tokens stand for a text when a tokenizer is asked what it puts around two.
_ANCHOR = ":"


class AnswerTemplate(LikelihoodTemplate):
    """Context and target of a frozen language model that is asked a question's answer.

    Args:
        tokenizer: a Hugging Face tokenizer with a Rust backend.
        answers: question → its answer, for every question that will be asked.
        family: `encoder-decoder`, the answer is decoded, or `causal`, it continues the prompt.
        passage_prompt: text with `{passage}` and `{question}` once each; None for `ANSWER_PROMPT`.
        max_length: tokens of the context at most; the passage is cut, nothing else.
        question_length: tokens of the answer at most.
        chat_template: put the prompt into the user's turn of the tokenizer's chat template.

    Raises:
        ConfigError: the prompt lacks a placeholder, leaves no room, or there is no chat template.
    """

    default_prompt: ClassVar[str] = ANSWER_PROMPT
    placeholders: ClassVar[tuple[str, ...]] = ("{passage}", "{question}")

    def __init__(
        self,
        tokenizer: Any,
        answers: Mapping[str, str],
        *,
        family: Family,
        passage_prompt: str | None = None,
        max_length: int = 512,
        question_length: int = 128,
        chat_template: bool = False,
    ) -> None:
        super().__init__(
            tokenizer,
            family=family,
            passage_prompt=passage_prompt,
            question_prefix="",
            max_length=max_length,
            question_length=question_length,
            chat_template=chat_template,
        )
        self._answers = answers

    def asked(self, question: str) -> Asked:
        """Return the ids of the question and of its answer; arrays of int32.

        Raises:
            DataError: there is no answer, nothing of it or of the question is left after
                tokenising, or the question leaves no room for a passage.
        """
        if question not in self._answers:
            raise DataError(f"no answer to {question!r} is known", hint="give its answers")
        after_space = self._after_space["{question}"]
        ids = _question_ids(self._encoder, question, self._room, after_space=after_space)
        return Asked(joined(ids), joined(self.target(self._answers[question])))


class PairTemplate(PassagePart):
    """A question and a passage as a cross-encoder reads them: `[CLS] question [SEP] passage [SEP]`.

    What stands around the texts, and the token types, are what the tokenizer itself gives a pair.

    Args:
        tokenizer: a Hugging Face tokenizer with a Rust backend.
        max_length: tokens of the pair at most; the passage is cut, the question never.

    Attributes:
        token_types: of the question's part and of the passage's; None where the model has none.
        pad_id: what fills up short pairs.
        prompt: empty, for there is none.
        longest: tokens of a pair at most.
        layout: stands for what is put around the texts, and the length.

    Raises:
        ArtError: the tokenizer cannot pad, or types its own tokens unlike their texts.
    """

    prompt = ""

    def __init__(self, tokenizer: Any, *, max_length: int = 512) -> None:
        super().__init__(TextEncoder(tokenizer), after_space=False)
        self.max_length = self.longest = max_length
        if tokenizer.pad_token_id is None:
            raise ArtError("the reranker's tokenizer has no padding token")
        self.pad_id = int(tokenizer.pad_token_id)
        bare = tokenizer(_ANCHOR, add_special_tokens=False)["input_ids"]
        whole = tokenizer(_ANCHOR, _ANCHOR)
        ids, types = list(whole["input_ids"]), whole.get("token_type_ids")
        places = [i for i in range(len(ids)) if ids[i : i + len(bare)] == bare]
        border = places[-1]
        self._head = ids[: places[0]]
        self._between = ids[places[0] + len(bare) : border]
        self._tail = ids[border + len(bare) :]
        self.token_types = None if types is None else (types[0], types[border])
        if types is not None and (len({*types[:border]}) > 1 or len({*types[border:]}) > 1):
            raise ArtError(f"{type(tokenizer).__name__} types the tokens of a pair in its own way")
        self._room = max_length - len(self._head) - len(self._between) - len(self._tail)
        around = (self._head, self._between, self._tail, self.token_types, max_length)
        self.layout = fingerprint("pairs 1", repr(around))

    def asked(self, question: str) -> Asked:
        """Return the ids of the question; an array of int32.

        Raises:
            DataError: nothing of it is left after tokenising, or no room for a passage.
        """
        return Asked(joined(_question_ids(self._encoder, question, self._room)), joined())

    def pair(self, asked: Asked, passage_ids: Ids) -> Pair:
        """Return what the cross-encoder reads of a question and a passage; arrays of int32.

        Args:
            asked: what `asked` gave for the question.
            passage_ids: what `passages` gave for the passage.
        """
        passage = passage_ids[: self._room - len(asked.question)]
        return Pair(joined(self._head, asked.question, self._between), joined(passage, self._tail))


def _question_ids(
    encoder: TextEncoder, question: str, room: int, *, after_space: bool = False
) -> list[int]:
    (ids,) = encoder([question.strip()], after_space=after_space)
    if not ids:
        raise DataError(f"no tokens are left of {question!r}", hint="remove it")
    if len(ids) >= room:
        raise DataError(
            f"question {question!r:.80} has {len(ids)} tokens, which leaves no room for a passage",
            hint="raise teacher.max_length, or remove the question",
        )
    return ids
