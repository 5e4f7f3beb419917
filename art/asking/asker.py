"""A frozen language model that is asked for questions about passages, a block of them at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from art.asking.decoding import Beginning, NextTokens, Written, write
from art.asking.kinds import QuestionKind
from art.asking.prompts import Prompts, num_shared
from art.asking.sampling import Sampling, Uniforms
from art.data.batching import token_batches
from art.data.pairs import Ids
from art.errors import ArtError
from art.files import fingerprint
from art.teacher.attention import in_blocks
from art.teacher.forward import ForwardPasses
from art.teacher.likelihood import LikelihoodTeacher

NUM_TOKENS = 64  # of a question at most; what is longer counts as cut off

# Positions that a batch keeps at most, of all texts being written. Writing reads all weights for
# one token of each text, so that it wants more of them than scoring does.
_BATCH_TOKENS = {"cpu": 16_384}
_BATCH_TOKENS_ELSEWHERE = 65_536

# Questions of a block: enough for some batches, so few that a kill costs half a minute on a CPU.
_BLOCK_QUESTIONS = {"cpu": 128}
_BLOCK_QUESTIONS_ELSEWHERE = 2_048

# Pieces of a vocabulary: how a line break stands in one, and white space.
_BREAK = re.compile(r"[\nĊ]|<0x0A>")
_BLANK = " \n\t\r▁ĠĊĉč"


class AskedPassage(NamedTuple):
    """A passage to ask about.

    Attributes:
        passage_id: its name.
        ids: what the prompts' encoder gave for it.
    """

    passage_id: str
    ids: Ids


@dataclass(frozen=True)
class AskedQuestion:
    """What the model wrote.

    Attributes:
        passage_id: of the passage that it is about.
        kind: its name.
        text: one line; it may be empty.
        is_cut: whether it had not ended after `NUM_TOKENS` tokens.
    """

    passage_id: str
    kind: str
    text: str
    is_cut: bool


class _Item(NamedTuple):
    """Questions that share a prompt or the beginning of one: they are written in one batch."""

    position: int  # of the passage in its block
    shared: list[int]
    beginnings: list[tuple[QuestionKind, list[int]]]  # of each kind, with the rest of its prompt


class Asker:
    """A frozen language model with its prompts.

    Args:
        teacher: the language model, loaded as a teacher.
        tokenizer: the model's.
        kinds: of question.
        per_passage: questions of each kind about each passage.
        prompts: of the kinds.
        sampling: how tokens are drawn.
        batch_tokens: positions that a batch keeps at most; None for the device's own.

    Attributes:
        num_questions: about each passage.
        block_passages: how many passages are asked about at once. Which they are decides how they
            are batched, and that the last bits of what the model says.
        fingerprint: stands for all that questions depend on beside the passages.

    Raises:
        ArtError: padding changes what the model says.
    """

    def __init__(
        self,
        teacher: LikelihoodTeacher,
        tokenizer: Any,
        kinds: Sequence[QuestionKind],
        *,
        per_passage: int,
        prompts: Prompts,
        sampling: Sampling,
        batch_tokens: int | None = None,
    ) -> None:
        if teacher.one_length:
            raise ArtError(
                "what this model writes would depend on what else is written in the same batch",
                where="--model",
                hint="choose another model",
            )
        self._teacher, self._tokenizer = teacher, tokenizer
        self._kinds, self._per_passage = list(kinds), per_passage
        self.prompts, self._sampling = prompts, sampling
        self._passes = ForwardPasses(teacher.model, teacher.family)
        device = teacher.device.type
        self._batch_tokens = batch_tokens or _BATCH_TOKENS.get(device, _BATCH_TOKENS_ELSEWHERE)
        self.num_questions = len(self._kinds) * per_passage
        block_questions = _BLOCK_QUESTIONS.get(device, _BLOCK_QUESTIONS_ELSEWHERE)
        self.block_passages = max(block_questions // self.num_questions, 1)
        self._vocabulary = _Vocabulary(tokenizer, teacher.model)
        self.fingerprint = fingerprint(
            "asker 1",
            teacher.fingerprint,
            prompts.fingerprint,
            repr((per_passage, NUM_TOKENS, sampling, self._batch_tokens, self.block_passages)),
        )

    def ask(self, passages: Sequence[AskedPassage]) -> list[AskedQuestion]:
        """Return the questions about some passages, passage by passage and kind by kind.

        Raises:
            ArtError: the device's memory does not suffice.
        """
        kinds = [kind.name for kind in self._kinds]
        uniforms = {
            (position, kind): self._sampling.uniforms(
                passage.passage_id, kind, self._per_passage, NUM_TOKENS
            )
            for position, passage in enumerate(passages)
            for kind in kinds
        }
        written: dict[tuple[int, str], list[Written]] = {}
        inference = not getattr(self._teacher.model, "is_quantized", False)
        try:
            with (
                torch.no_grad(),
                torch.inference_mode(inference),
                in_blocks(self._teacher.attends_in_blocks),
            ):
                for batch in self._batches(self._items(passages)):
                    written |= self._write(batch, uniforms)
        except torch.OutOfMemoryError as error:
            raise ArtError(
                f"the memory of {self._teacher.device} does not suffice for {self._batch_tokens} "
                "positions at once",
                hint="lower --batch-tokens",
            ) from error
        return [
            self._question(passage.passage_id, kind, text)
            for position, passage in enumerate(passages)
            for kind in self._kinds
            for text in written[position, kind.name]
        ]

    def _items(self, passages: Sequence[AskedPassage]) -> list[_Item]:
        items = []
        for position, passage in enumerate(passages):
            contexts = self.prompts.contexts(passage.passage_id, passage.ids)
            prompts = list(zip(self._kinds, contexts, strict=True))
            if self._passes.family == "encoder-decoder":
                # An encoder reads each prompt as a whole.
                items += [_Item(position, ids, [(kind, [])]) for kind, ids in prompts]
                continue
            length = num_shared(contexts)
            groups = [prompts] if length else [[one] for one in prompts]
            for group in groups:
                border = length or len(group[0][1]) - 1
                rest = [(kind, ids[border:]) for kind, ids in group]
                items.append(_Item(position, group[0][1][:border], rest))
        return items

    def _batches(self, items: list[_Item]) -> list[list[_Item]]:
        """Cut items into batches of similar length, the longest first."""
        lengths = [
            len(one.beginnings)
            * self._per_passage
            * (len(one.shared) + max(len(ids) for _, ids in one.beginnings) + NUM_TOKENS)
            for one in items
        ]
        batches = token_batches(lengths, self._batch_tokens)[::-1]
        return [[items[i] for i in batch] for batch in batches]

    def _write(
        self, items: list[_Item], uniforms: dict[tuple[int, str], Uniforms]
    ) -> dict[tuple[int, str], list[Written]]:
        """Return what is written, by the passage's position and the kind."""
        keys, beginnings = [], []
        for place, item in enumerate(items):
            for kind, rest in item.beginnings:
                for _ in range(self._per_passage):
                    keys.append((item.position, kind.name))
                    beginnings.append(Beginning(place, rest))
        drawn_by = np.concatenate([uniforms[key] for key in dict.fromkeys(keys)])  # [n, NUM_TOKENS]
        num_drawn = np.zeros(len(keys), dtype=np.int64)
        has_begun = np.zeros(len(keys), dtype=np.bool_)

        def choose(logits: Tensor, texts: NDArray[np.int64]) -> NextTokens:
            logits[:, self._vocabulary.size :] = -torch.inf  # no tokens, but a fuller head
            ids = self._sampling.draw(logits, drawn_by[texts, num_drawn[texts]])
            num_drawn[texts] += 1
            has_begun[texts] |= ~self._vocabulary.is_blank[ids]
            line_ends = self._vocabulary.breaks_line[ids] & has_begun[texts]
            return NextTokens(ids, self._vocabulary.is_special[ids] | line_ends)

        prompts = [item.shared for item in items]
        written: dict[tuple[int, str], list[Written]] = {}
        for key, text in zip(
            keys, write(self._passes, prompts, beginnings, choose, NUM_TOKENS), strict=True
        ):
            written.setdefault(key, []).append(text)
        return written

    def _question(self, passage_id: str, kind: QuestionKind, written: Written) -> AskedQuestion:
        text = self._tokenizer.decode(
            written.ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        text = text.strip().removeprefix(kind.label).strip()  # T5's kin write it themselves
        words = text.partition("\n")[0].split()
        return AskedQuestion(passage_id, kind.name, " ".join(words), written.is_cut)


class _Vocabulary:
    """What tokens are, by their ids.

    Attributes:
        size: no id of the tokenizer is as high.
        is_special: [size]; what ends a turn or a text is.
        breaks_line: [size].
        is_blank: nothing is left of it without white space, [size].
    """

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self.size = max(tokenizer.get_vocab().values()) + 1
        ends = model.generation_config.eos_token_id
        ends = [] if ends is None else ends if isinstance(ends, list) else [ends]
        self.is_special = np.zeros(self.size, dtype=np.bool_)
        self.is_special[[*tokenizer.all_special_ids, *ends]] = True
        self.breaks_line = np.zeros(self.size, dtype=np.bool_)
        self.is_blank = self.is_special.copy()
        for piece, index in tokenizer.get_vocab().items():
            # Only these may hold a line break, or be blank; decoding all of them takes a second.
            if _BREAK.search(piece) or not piece.strip(_BLANK):
                text = tokenizer.decode([index])
                self.breaks_line[index] = "\n" in text
                self.is_blank[index] |= not text.strip()
