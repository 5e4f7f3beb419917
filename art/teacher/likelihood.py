"""Log-likelihoods under a frozen language model: of questions given passages, or of their answers.

Encoder–decoder models (T5, T0, FLAN) read the context and decode the target; decoder-only models
read both in one sequence. Pairs of one context share what is read of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from art.data.batching import token_batches
from art.data.joint_inputs import AnswerTemplate
from art.data.pairs import Ids, Pair
from art.data.prompts import PAPER_QUESTION_PREFIX, Family, LikelihoodTemplate
from art.errors import ArtError
from art.files import fingerprint
from art.teacher.base import Pairs, Part, Teacher
from art.teacher.forward import ForwardPasses, ReadContexts, TargetLogits
from art.teacher.models import automatic_dtype, check_length, family_of, load_weights
from art.weights import check_size, fingerprint_folder, load_tokenizer, loading_model, resolve_model

Reduction = Literal["mean", "sum"]

# Logits are turned into float32 at most this many at a time (16 MiB): a whole batch of them, at
# full precision and over a large vocabulary, would take more memory than the model.
_CHUNK_LOGITS = 1 << 22


class LanguageModelTeacher(Teacher):
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

    Raises:
        ArtError: an encoder–decoder model does not say with which token its decoder starts.
    """

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
        super().__init__(model, template, fingerprint=fingerprint, batch_tokens=batch_tokens)
        self.reduction = reduction
        self.family = template.family
        self.share = share
        self._passes = ForwardPasses(self.model, self.family)

    @property
    def reads_passages_apart(self) -> bool:
        """Whether a passage is read once for several questions that are scored together."""
        # A prompt for the answer has the question in it.
        apart = self.share and not isinstance(self.template, AnswerTemplate)
        return apart and self._passes.shares_contexts

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

    def _parts(self, firsts: Sequence[Ids], seconds: Sequence[Ids]) -> Iterator[Part]:
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
    ) -> Iterator[Part]:
        """Score groups of pairs of one context each, which is read once."""
        # Contexts and targets pad apart, so that a batch may take its longest context from one
        # pair and its longest target from another: count every target as the longest.
        longest = max(len(targets[i]) for group in groups for i in group)
        lengths = [len(contexts[group[0]]) + longest for group in groups]
        # The longest batches first: if the memory does not suffice, it shows at once.
        for batch in token_batches(lengths, self.batch_tokens)[::-1]:
            chosen = [groups[i] for i in batch]
            # Not given a name: the states of one batch are gone before the next one is read.
            yield from self._after(
                self._passes.read([contexts[group[0]] for group in chosen]), targets, chosen
            )

    def _after(
        self, read: ReadContexts, targets: Sequence[Ids], groups: list[Pairs]
    ) -> Iterator[Part]:
        pairs = np.concatenate(groups)
        rows = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
        # Every target takes the states of its context with it.
        lengths = [read.longest + len(targets[i]) for i in pairs]
        for batch in token_batches(lengths, self.batch_tokens)[::-1]:
            some = [targets[i] for i in pairs[batch]]
            yield pairs[batch], self._reduced(self._passes.follow(read, rows[batch], some))

    def _apart(
        self, contexts: Sequence[Ids], targets: Sequence[Ids], pairs: Pairs
    ) -> Iterator[Part]:
        """Score pairs of a decoder-only model, each in one sequence."""
        lengths = [len(contexts[i]) + len(targets[i]) for i in pairs]
        for batch in token_batches(lengths, self.batch_tokens)[::-1]:
            some = pairs[batch]
            logits = self._passes.whole([contexts[i] for i in some], [targets[i] for i in some])
            yield some, self._reduced(logits)

    def _reduced(self, found: TargetLogits) -> Tensor:
        """Return the scores of one batch of n pairs on the device, [n] float32."""
        total = token_log_probabilities(*found).sum(dim=1)
        if self.reduction == "sum":
            return total
        return total / found.mask.sum(dim=1).to(total)


def _equal(contexts: Sequence[Ids]) -> list[Pairs]:
    """Return the indices of equal contexts together, by first appearance."""
    groups: dict[bytes, list[int]] = {}
    for index, context in enumerate(contexts):
        groups.setdefault(np.asarray(context, dtype=np.int64).tobytes(), []).append(index)
    return [np.array(group) for group in groups.values()]


def token_log_probabilities(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Return each token's log-probability, float32 whatever the logits are, a few rows at a time.

    Args:
        logits: [m, V] of the m tokens that count, of any float type, on any device.
        ids: the tokens they are about, [n, T] int64, on the CPU.
        mask: which of them count, [n, T] bool, on the CPU.

    Returns:
        Log-probabilities in nats, [n, T] float32 on the logits' device; 0 where `mask` is False.
    """
    device = logits.device
    result = torch.zeros(ids.shape, dtype=torch.float32, device=device)
    rows_at_once = max(1, _CHUNK_LOGITS // logits.shape[-1])
    # Indices are found on the CPU, where counting them does not make a GPU wait.
    places = mask.nonzero()  # [m, 2]
    chunks = (torch.split(one, rows_at_once) for one in (logits, places))
    for some, where in zip(*chunks, strict=True):
        wanted = ids[where[:, 0], where[:, 1]].to(device)
        row, column = where.to(device).unbind(dim=1)
        result[row, column] = -F.cross_entropy(some.float(), wanted, reduction="none")
    return result


def load_language_model(
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
) -> LanguageModelTeacher:
    """Load a frozen language model as a teacher.

    Args:
        model: hub name or folder of an encoder–decoder or decoder-only model, a `.gguf` file, or
            `pip:NAME`, an installed distribution that carries one.
        dtype: `float32`, `bfloat16`, `float16`, or `auto`: bfloat16 where it is fast, else float32.
        reduction: `mean` (the paper) or `sum` (UPR) of the target's token log-probabilities.
        batch_tokens: padded tokens that go through the model at once; None for the device's own.
        device: None for the current GPU, else the CPU.
        passage_prompt: text with `{passage}` once, and with answers `{question}` once; None for the
            paper's, and with answers for `ANSWER_PROMPT`.
        question_prefix: text before the question; None for the paper's; unused with answers.
        max_length: tokens of the context at most; the passage is cut, the instruction never.
        question_length: tokens of the target at most.
        chat_template: put the prompt through the model's chat template (decoder-only models).
        attention: transformers' name of an attention implementation; None for its own choice.
        quantization: transformers' quantisation config as a mapping; None for none.
        answers: question → answer: the answer's likelihood given passage and question is the score
            (REPLUG); None for the question's likelihood given the passage (the paper).
        cache: where converted models are kept; `files.cache_folder()` when None.

    Raises:
        ArtError: the model cannot be loaded, or is not a language model with weights of its own
            that can read this many tokens.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    folder = resolve_model(model, cache=cache)
    with loading_model(model):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    check_size(config, model)
    tokenizer = load_tokenizer(folder, model)
    family = family_of(config, model)
    template = _template(
        tokenizer,
        answers,
        question_prefix,
        family=family,
        passage_prompt=passage_prompt,
        max_length=max_length,
        question_length=question_length,
        chat_template=chat_template,
    )
    causal = family == "causal"
    check_length(config, model, template.longest if causal else max(max_length, question_length))
    precision = automatic_dtype(place) if dtype == "auto" else dtype
    weights = load_weights(
        folder,
        model,
        config=config,
        kind=AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM,
        dtype=precision,
        device=place,
        attention=attention,
        quantization=quantization,
    )
    prompt = [template.prompt, max_length, question_length]
    if family == "encoder-decoder" and answers is None:  # else it is in the prompt
        prompt += [PAPER_QUESTION_PREFIX if question_prefix is None else question_prefix]
    own = [fingerprint_folder(folder), template.fingerprint, repr(prompt), precision, reduction]
    own += [repr(quantization)] if quantization else []
    return LanguageModelTeacher(
        weights,
        template,
        fingerprint=fingerprint("scorer 1" if answers is None else "answer scorer 1", *own),
        reduction=reduction,
        batch_tokens=batch_tokens,
    )


def _template(
    tokenizer: PreTrainedTokenizerBase,
    answers: Mapping[str, str] | None,
    question_prefix: str | None,
    **settings: Any,
) -> LikelihoodTemplate:
    if answers is not None:
        return AnswerTemplate(tokenizer, answers, **settings)
    return LikelihoodTemplate(tokenizer, question_prefix=question_prefix, **settings)
