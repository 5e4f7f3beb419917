"""Teachers whose score is a log-likelihood under a frozen language model, whatever the target is.

Encoder–decoder models (T5, T0, FLAN) read the context and decode the target; decoder-only models
read both in one sequence. Pairs of one context share what is read of it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from art.data.pairs import Ids, Pair
from art.data.prompts import Family, LikelihoodTemplate
from art.errors import ArtError
from art.teacher.costs import LanguageModelShape
from art.teacher.transformer import Pairs, TransformerTeacher

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from art.teacher.forward import ReadContexts, TargetLogits

Reduction = Literal["mean", "sum"]

ASSUMED_INSTRUCTION = 16  # tokens of a prompt beside its texts, where no tokenizer is here


class LikelihoodTeacher(TransformerTeacher):
    """A frozen language model with its prompt.

    Args:
        model: a `…ForConditionalGeneration` or `…ForCausalLM`; put into evaluation mode, its
            parameters lose their gradients.
        template: makes contexts and targets for this model's tokenizer.
        fingerprint: stands for everything a score depends on besides the token ids.
        reduction: `mean` or `sum` of the target's token log-probabilities.
        batch_tokens: padded tokens that go through the model at once; None for the device's own.
        share: read a context once for all its targets where that gives the same scores; off only to
            show that it does.

    Attributes:
        placeholders: what a kind's prompt must hold, each exactly once.
        layout: a kind's word in its fingerprints.

    Raises:
        ArtError: an encoder–decoder model does not say with which token its decoder starts.
    """

    placeholders: ClassVar[tuple[str, ...]]
    layout: ClassVar[str]

    template: LikelihoodTemplate
    family: Family

    def __init__(
        self,
        model: PreTrainedModel,
        template: LikelihoodTemplate,
        *,
        fingerprint: str,
        reduction: Reduction = "mean",
        batch_tokens: int | None = None,
        share: bool = True,
    ) -> None:
        from art.teacher.forward import ForwardPasses

        super().__init__(model, template, fingerprint=fingerprint, batch_tokens=batch_tokens)
        self.reduction = reduction
        self.family = template.family
        self.share = share
        self._passes = ForwardPasses(self.model, self.family)

    @classmethod
    @abstractmethod
    def make_template(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        *,
        answers: Mapping[str, str],
        question_prefix: str | None,
        **settings: Any,
    ) -> LikelihoodTemplate:
        """Return what makes this kind's contexts and targets.

        Args:
            tokenizer: the model's.
            answers: question → answer.
            question_prefix: text before the question; None for the paper's.
            settings: `family`, `passage_prompt`, `max_length`, `question_length` and
                `chat_template`; see `LikelihoodTemplate`.
        """

    @classmethod
    def load(
        cls,
        model: str,
        *,
        dtype: str = "auto",
        reduction: Reduction = "mean",
        batch_tokens: int | None = None,
        device: torch.device | str | None = None,
        passage_prompt: str | None = None,
        question_prefix: str | None = None,
        max_length: int = 512,
        question_length: int = 128,
        chat_template: bool = False,
        attention: str | None = None,
        quantization: Mapping[str, Any] | None = None,
        answers: Mapping[str, str] | None = None,
        cache: Path | None = None,
    ) -> Self:
        """Load a frozen language model as a teacher.

        Args:
            model: hub name or folder of an encoder–decoder or decoder-only model, a `.gguf` file,
                or `pip:NAME`, an installed distribution that carries one.
            dtype: `float32`, `bfloat16`, `float16`, or `auto`: bfloat16 where it is fast, else
                float32.
            reduction: `mean` (the paper) or `sum` (UPR) of the target's token log-probabilities.
            batch_tokens: padded tokens that go through the model at once; None for the device's
                own.
            device: None for the current GPU, else the CPU.
            passage_prompt: text with each of the kind's placeholders once; None for the kind's own.
            question_prefix: text before the question; None for the paper's.
            max_length: tokens of the context at most; the passage is cut, the instruction never.
            question_length: tokens of the target at most.
            chat_template: put the prompt through the model's chat template (decoder-only models).
            attention: transformers' name of an attention implementation; None for its own choice.
            quantization: transformers' quantisation config as a mapping; None for none.
            answers: question → answer, for a kind that needs them.
            cache: where converted models are kept; `files.cache_folder()` when None.

        Raises:
            ArtError: the model cannot be loaded, or is not a language model with weights of its own
                that can read this many tokens.
        """
        from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

        from art.teacher.models import check_length, family_of, find_model, load_weights

        found = find_model(model, cache=cache)
        family = family_of(found.config, model)
        template = cls.make_template(
            found.tokenizer,
            answers=answers or {},
            question_prefix=question_prefix,
            family=family,
            passage_prompt=passage_prompt,
            max_length=max_length,
            question_length=question_length,
            chat_template=chat_template,
        )
        causal = family == "causal"
        needed = template.longest if causal else max(max_length, question_length)
        check_length(found.config, model, needed)
        weights, precision = load_weights(
            found,
            head=AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM,
            dtype=dtype,
            device=device,
            attention=attention,
            quantization=quantization,
        )
        prompt = repr(cls._prompt_settings(template))
        own = (template.fingerprint, prompt, precision, reduction)
        return cls(
            weights,
            template,
            fingerprint=found.fingerprint(cls.layout, *own, quantization=quantization),
            reduction=reduction,
            batch_tokens=batch_tokens,
        ).read_one_length()

    @classmethod
    def _prompt_settings(cls, template: LikelihoodTemplate) -> list[object]:
        """Return what of the template changes scores and is not in a pair's token ids."""
        return [template.prompt, template.max_length, template.question_length]

    @classmethod
    def faults(cls, settings: Mapping[str, Any]) -> Iterator[str]:
        """Yield a line per placeholder that the prompt lacks, or holds twice."""
        prompt = settings.get("passage_prompt")
        if prompt is None:
            return
        for placeholder in cls.placeholders:
            if prompt.count(placeholder) != 1:
                yield f"teacher.passage_prompt: must hold {placeholder} exactly once"

    @classmethod
    def published_shape(cls, model: str) -> LanguageModelShape | None:
        """Return the shape of a published language model, None where it is not known here."""
        from art.teacher.shapes import published_language_model

        return published_language_model(model, shares_contexts=cls._shares_contexts())

    def shape(self) -> LanguageModelShape:
        """Return the language model's shape."""
        from art.teacher.shapes import language_model_shape

        return language_model_shape(self.model, shares_contexts=self._shares_contexts())

    @classmethod
    def _shares_contexts(cls) -> bool:
        """Return whether a passage's context is the same for all questions."""
        return "{question}" not in cls.placeholders

    @property
    def reads_passages_apart(self) -> bool:
        """Whether a passage is read once for several questions that are scored together."""
        return self.share and self._shares_contexts() and self._passes.shares_contexts

    def label_variants(
        self, questions: Sequence[str], scores: NDArray[np.float32]
    ) -> dict[str, NDArray[np.floating[Any]]]:
        """Return mean and sum: they order alike, since a target's length is the same throughout."""
        lengths = np.array([len(self.template.asked(text).target) for text in questions])[:, None]
        values = scores.astype(np.float64)
        mean = values / lengths if self.reduction == "sum" else values
        return {"mean": mean, "sum": mean * lengths}

    def log_likelihoods(
        self, contexts: Sequence[Ids], targets: Sequence[Ids]
    ) -> NDArray[np.float32]:
        """Return the log-likelihood of each target after its context.

        Neither the order of the pairs nor how they fall into batches matters, beyond rounding.
        A context that comes several times is read once.

        Args:
            contexts: n lists of token ids, from `template.context`.
            targets: n lists of token ids, from `template.target`.

        Returns:
            Mean (or sum) over each target's tokens of their log-probability in nats, [n] float32.

        Raises:
            ArtError: a context or target is empty, or the device's memory does not suffice.

        Source: Sachan et al. 2023, section 2.3.
        """
        if len(contexts) != len(targets):
            raise ValueError(f"{len(contexts)} contexts, but {len(targets)} targets")
        return self.score_pairs([*map(Pair, contexts, targets)])

    def _parts(
        self, firsts: Sequence[Ids], seconds: Sequence[Ids]
    ) -> Iterator[tuple[Pairs, Tensor]]:
        """Give the scores of all pairs of context and target, a batch at a time."""
        contexts, targets = firsts, seconds
        for name, sequences in (("context", contexts), ("target", targets)):
            if any(len(ids) == 0 for ids in sequences):
                raise ArtError(f"the teacher needs at least one token of {name}")
        groups = _equal(contexts) if self.share else [np.array([i]) for i in range(len(contexts))]
        together, alone = groups, []
        if self.family == "causal":
            together = [group for group in groups if len(group) > 1 and len(contexts[group[0]]) > 1]
            if together and not self._passes.shares_contexts:
                together = []
            shared = {int(group[0]) for group in together}
            alone = [group for group in groups if int(group[0]) not in shared]
        if together:
            yield from self._together(contexts, targets, together)
        if alone:
            yield from self._apart(contexts, targets, np.concatenate(alone))

    def _together(
        self, contexts: Sequence[Ids], targets: Sequence[Ids], groups: list[Pairs]
    ) -> Iterator[tuple[Pairs, Tensor]]:
        """Score groups of pairs of one context each, which is read once."""
        # Contexts and targets pad apart, so that a batch may take its longest context from one
        # pair and its longest target from another: count every target as the longest.
        longest = max(len(targets[i]) for group in groups for i in group)
        lengths = [len(contexts[group[0]]) + longest for group in groups]
        for batch in self.batches(lengths):
            chosen = [groups[i] for i in batch]
            # Not given a name: the states of one batch are gone before the next one is read.
            yield from self._after(
                self._passes.read([contexts[group[0]] for group in chosen]), targets, chosen
            )

    def _after(
        self, read: ReadContexts, targets: Sequence[Ids], groups: list[Pairs]
    ) -> Iterator[tuple[Pairs, Tensor]]:
        pairs = np.concatenate(groups)
        rows = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        # Every target takes the states of its context with it.
        lengths = [read.longest + len(targets[i]) for i in pairs]
        for batch in self.batches(lengths):
            some = [targets[i] for i in pairs[batch]]
            yield pairs[batch], self._reduced(self._passes.follow(read, rows[batch], some))

    def _apart(
        self, contexts: Sequence[Ids], targets: Sequence[Ids], pairs: Pairs
    ) -> Iterator[tuple[Pairs, Tensor]]:
        """Score pairs of a decoder-only model, each in one sequence."""
        lengths = [len(contexts[i]) + len(targets[i]) for i in pairs]
        for batch in self.batches(lengths):
            some = pairs[batch]
            logits = self._passes.whole([contexts[i] for i in some], [targets[i] for i in some])
            yield some, self._reduced(logits)

    def _reduced(self, found: TargetLogits) -> Tensor:
        """Return the scores of one batch of n pairs on the device, [n] float32."""
        total = found.log_probabilities().sum(dim=1)
        if self.reduction == "sum":
            return total
        return total / found.mask.sum(dim=1).to(total)


def _equal(contexts: Sequence[Ids]) -> list[Pairs]:
    """Return the indices of equal contexts together, by first appearance."""
    groups: dict[bytes, list[int]] = {}
    for index, context in enumerate(contexts):
        groups.setdefault(np.asarray(context, dtype=np.int64).tobytes(), []).append(index)
    return [np.array(group) for group in groups.values()]
