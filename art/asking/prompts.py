"""What the language model reads of a passage: an instruction for each kind, perhaps examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from art.asking.kinds import QuestionKind
from art.asking.sampling import stream_of
from art.data.pairs import Ids
from art.data.prompts import Family, LikelihoodTemplate
from art.data.tokens import PassageEncoder
from art.files import fingerprint

_PASSAGE = "Passage: {passage} . "
_EXAMPLES = "What people ask, for example:\n{examples}\n\n"
_NUM_EXAMPLES = 3  # of a prompt, drawn anew for each passage
_MOST_EXAMPLES = 4  # part of the room that they take at most, so that a passage is left


class ExampleTemplate(LikelihoodTemplate):
    """A `LikelihoodTemplate` with a place for examples before the passage."""

    placeholders: ClassVar[tuple[str, ...]] = ("{examples}", "{passage}")

    def examples(self, texts: Sequence[str]) -> Ids:
        """Return the token ids of examples, one a line; what is too long is cut."""
        lines = ["\n".join(" ".join(text.split()) for text in texts)]
        (ids,) = self._encoder(lines, after_space=self._after_space["{examples}"])
        return ids[: self._room // _MOST_EXAMPLES]


class Prompts:
    """The prompts of a job.

    Args:
        tokenizer: a Hugging Face tokenizer with a Rust backend.
        kinds: of question.
        family: of the language model.
        max_length: tokens of a prompt at most; the passage is cut.
        chat_template: put it into the user's turn of the tokenizer's chat template.
        rendered: texts of a job that has begun, for those that a chat template would render anew,
            perhaps with another date.
        examples: questions of the user's own; of each passage some are shown to the model.
        seed: they are drawn by.

    Attributes:
        texts: by the kinds' names, `{passage}` standing for the passage.
        encoder: makes token ids of passages.
        fingerprint: stands for the texts, the examples and how they are cut.

    Raises:
        ConfigError: there is no chat template, or no room for a passage.
    """

    encoder: PassageEncoder
    fingerprint: str

    def __init__(
        self,
        tokenizer: Any,
        kinds: Sequence[QuestionKind],
        *,
        family: Family,
        max_length: int,
        chat_template: bool,
        rendered: Mapping[str, str] | None = None,
        examples: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        shown = ExampleTemplate if examples else LikelihoodTemplate
        before = _EXAMPLES if examples else ""
        known = {
            name: text
            for name, text in (rendered or {}).items()
            if chat_template and ("{examples}" in text) == bool(examples)
        }
        self._templates = [
            shown(
                tokenizer,
                family=family,
                passage_prompt=known.get(kind.name, before + _PASSAGE + kind.instruction),
                question_prefix="" if kind.name in known else kind.label,
                max_length=max_length,
                chat_template=chat_template and kind.name not in known,
            )
            for kind in kinds
        ]
        self.texts = {
            kind.name: one.prompt for kind, one in zip(kinds, self._templates, strict=True)
        }
        self.encoder = self._templates[0]
        self._examples, self._seed = list(examples), seed
        own = (self.texts, self._examples, max_length, seed)
        self.fingerprint = fingerprint("prompts 1", self.encoder.fingerprint, repr(own))

    def contexts(self, passage_id: str, passage_ids: Ids) -> list[list[int]]:
        """Return what the model reads of a passage for a question of each kind, token ids.

        Args:
            passage_id: of the passage, whose own examples are drawn.
            passage_ids: what `encoder` gave for it.
        """
        drawn = self._drawn(passage_id)
        return [
            one.context(
                passage_ids, one.examples(drawn) if isinstance(one, ExampleTemplate) else ()
            )
            for one in self._templates
        ]

    def _drawn(self, passage_id: str) -> list[str]:
        count = min(_NUM_EXAMPLES, len(self._examples))
        stream = stream_of(self._seed, passage_id, "examples")
        return [self._examples[i] for i in stream.choice(len(self._examples), count, replace=False)]


def num_shared(contexts: Sequence[Sequence[int]]) -> int:
    """Return how many tokens contexts begin with in common, at least one of each left out."""
    most = min(map(len, contexts)) - 1
    alike = (len(set(ids)) == 1 for ids in zip(*contexts, strict=False))
    return next((place for place, same in enumerate(alike) if not same or place == most), most)
