"""A model that reads question and passage together and says how relevant the passage is."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from art.data.encoding import TextEncoder
from art.data.pairs import Asked, Ids, Pair, PassagePart, beside_passage, joined
from art.data.tokens import pad
from art.errors import ArtError
from art.files import fingerprint
from art.teacher.base import KINDS
from art.teacher.costs import Stack
from art.teacher.transformer import Pairs, TransformerTeacher

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedConfig, PreTrainedModel

# Its tokens stand for a text when a tokenizer is asked what it puts around two.
_ANCHOR = ":"


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
        return Asked(joined(beside_passage(self._encoder, question, self._room)), joined())

    def pair(self, asked: Asked, passage_ids: Ids) -> Pair:
        """Return what the cross-encoder reads of a question and a passage; arrays of int32.

        Args:
            asked: what `asked` gave for the question.
            passage_ids: what `passages` gave for the passage.
        """
        passage = passage_ids[: self._room - len(asked.question)]
        return Pair(joined(self._head, asked.question, self._between), joined(passage, self._tail))


@dataclass(frozen=True)
class CrossEncoderShape:
    """The sizes of a cross-encoder; see `TeacherShape`.

    Attributes:
        stack: its layers, and what else every token is multiplied with.
        head_parameters: of the matrices that only one position of a pair is multiplied with.
        num_parameters: all of them.
    """

    stack: Stack
    head_parameters: int
    num_parameters: int

    def flops(self, question: float, passage: float) -> float:
        """Return the operations of the score of one pair.

        Args:
            question: tokens of the question's part.
            passage: tokens of the passage's part.
        """
        return self.stack.flops(question + passage) + 2 * self.head_parameters

    def flops_again(self, question: float, passage: float) -> float:
        """Return the same: a passage is read anew with every question."""
        return self.flops(question, passage)

    def num_logits(self, passage: float) -> float:
        """Return 1: one number says it all."""
        return 1.0


@KINDS.add
class CrossEncoder(TransformerTeacher):
    """A cross-encoder with its tokenizer's way of joining two texts.

    A model of one label scores with its logit; one of two with the logit of the last label minus
    that of the first, which is the log-odds of "relevant".

    Args:
        model: a `…ForSequenceClassification` of one or two labels.
        template: makes pairs for this model's tokenizer.
        fingerprint: stands for everything a score depends on besides the token ids.
        batch_tokens: padded tokens that go through the model at once; None for the device's own.
    """

    name = "cross-encoder"
    description = "a reranker's logit; of two labels, the difference of their logits"
    unused = (
        *("passage_prompt", "question_prefix", "chat_template"),
        *("reduction", "question_length"),
    )

    template: PairTemplate

    def __init__(
        self,
        model: PreTrainedModel,
        template: PairTemplate,
        *,
        fingerprint: str,
        batch_tokens: int | None = None,
    ) -> None:
        super().__init__(model, template, fingerprint=fingerprint, batch_tokens=batch_tokens)
        # Decoder-only models find the end of each text by it.
        model.config.get_text_config().pad_token_id = template.pad_id
        known = inspect.signature(model.forward).parameters
        self._typed = template.token_types is not None and "token_type_ids" in known

    @classmethod
    def load(
        cls,
        model: str,
        *,
        dtype: str = "auto",
        batch_tokens: int | None = None,
        device: torch.device | str | None = None,
        max_length: int = 512,
        attention: str | None = None,
        quantization: Mapping[str, Any] | None = None,
        answers: Mapping[str, str] | None = None,
        cache: Path | None = None,
    ) -> Self:
        """Load a cross-encoder as a teacher.

        Args:
            model: hub name or folder of a model with a classification head.
            dtype: `float32`, `bfloat16`, `float16`, or `auto`: bfloat16 where it is fast, else
                float32.
            batch_tokens: padded tokens that go through the model at once; None for the device's
                own.
            device: None for the current GPU, else the CPU.
            max_length: tokens of a pair at most; the passage is cut, the question never.
            attention: transformers' name of an attention implementation; None for its own choice.
            quantization: transformers' quantisation config as a mapping; None for none.
            answers: not looked at.
            cache: where converted models are kept; `files.cache_folder()` when None.

        Raises:
            ArtError: the model cannot be loaded, or is no cross-encoder of one or two labels with
                weights of its own that can read this many tokens.
        """
        from transformers import AutoModelForSequenceClassification

        from art.teacher.models import check_length, find_model, load_weights

        found = find_model(model, cache=cache)
        _check_labels(found.config, model)
        template = PairTemplate(found.tokenizer, max_length=max_length)
        check_length(found.config, model, max_length)
        weights, precision = load_weights(
            found,
            head=AutoModelForSequenceClassification,
            dtype=dtype,
            device=device,
            attention=attention,
            quantization=quantization,
        )
        own = (template.fingerprint, template.layout, precision)
        return cls(
            weights,
            template,
            fingerprint=found.fingerprint("reranker 1", *own, quantization=quantization),
            batch_tokens=batch_tokens,
        ).read_one_length()

    @classmethod
    def assumed_lengths(
        cls, question: int, passage: int, settings: Mapping[str, Any]
    ) -> tuple[int, int]:
        """Return about how many tokens a question and what is left of a passage have."""
        return question, min(passage, settings["max_length"] - question)

    def shape(self) -> CrossEncoderShape:
        """Return the model's shape."""
        from art.teacher.shapes import attention_size, matrices, num_parameters

        sizes = matrices(self.model)
        body = f"{self.model.base_model_prefix}."
        # Decoder-only models classify every token and keep the last one's answer.
        at_one = {
            name for name in sizes if "pooler." in name or not name.startswith((body, "score."))
        }
        head_parameters = sum(sizes[name] for name in at_one)
        return CrossEncoderShape(
            stack=Stack(
                sum(sizes.values()) - head_parameters,
                attention_size(self.model.config.get_text_config(), "encoder"),
            ),
            head_parameters=head_parameters,
            num_parameters=num_parameters(self.model),
        )

    def _parts(
        self, firsts: Sequence[Ids], seconds: Sequence[Ids]
    ) -> Iterator[tuple[Pairs, Tensor]]:
        lengths = [len(one) + len(other) for one, other in zip(firsts, seconds, strict=True)]
        for batch in self.batches(lengths):
            yield batch, self._relevance([firsts[i] for i in batch], [seconds[i] for i in batch])

    def _relevance(self, questions: Sequence[Ids], passages: Sequence[Ids]) -> Tensor:
        """Return the scores of one batch of n pairs on the device, [n] float32."""
        sequences = [np.concatenate(pair) for pair in zip(questions, passages, strict=True)]
        ids, mask = pad(sequences, pad_id=self.template.pad_id)  # [n, L]
        inputs = {"input_ids": ids, "attention_mask": mask.long()}
        if self._typed:
            inputs["token_type_ids"] = self._types(questions, passages)
        on_device = {name: value.to(self.device) for name, value in inputs.items()}
        logits: Tensor = self.model(**on_device).logits.float()  # [n, labels]
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]

    def _types(self, questions: Sequence[Ids], passages: Sequence[Ids]) -> Tensor:
        """Return token types [n, L]; those of padding are 0, as Hugging Face's."""
        assert self.template.token_types is not None
        of_question, of_passage = self.template.token_types
        types = [
            [of_question] * len(one) + [of_passage] * len(other)
            for one, other in zip(questions, passages, strict=True)
        ]
        return pad(types, pad_id=0)[0]


def _check_labels(config: PreTrainedConfig, model: str) -> None:
    if config.is_encoder_decoder:
        raise ArtError(
            f"{model!r} ({config.model_type}) is an encoder-decoder model, not a cross-encoder",
            where="teacher.model",
            hint="choose a reranker with a classification head, or another teacher.kind",
        )
    if config.num_labels not in (1, 2):
        raise ArtError(
            f"{model!r} tells {config.num_labels} labels apart; a cross-encoder has one or two",
            where="teacher.model",
            hint="choose a reranker",
        )
