"""Questions a second and memory of a contrastive step, beside sentence-transformers' on the same.

python -m pip install --no-deps --target=st sentence-transformers scikit-learn joblib \
    threadpoolctl cloudpickle loky narwhals
PYTHONPATH=.:st python tests/benchmarks/dpr_step.py
PYTHONPATH=.:st python tests/benchmarks/dpr_step.py --layers 2 --hidden 64 --steps 2  # tiny

(`--no-deps` and a folder of its own, so that both sides run on the torch that is installed.)

An encoder of BERT-base's shape with random weights, one for questions and passages, makes optimiser
steps of 16 questions with a positive and a hard negative each: tokenising, forward, backward,
clipping, AdamW. Weights, texts, precision, threads, dropout and optimiser are the same for
    ours                   art.training.methods.dpr.dpr_step
    sentence-transformers  MultipleNegativesRankingLoss with inner products, as its trainer calls it
which take turns on the same batches. The pairs are cut from the demonstration's corpus, once with
all texts as long as the limit, once as long as they are. Without dropout, both must find the same
loss and gradient. Memory is the peak of a process that does nothing but one side's steps.

Prints a table and one line of JSON; a ratio in it is the median of the steps' own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scoring import peak_memory
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Pooling
from sentence_transformers.util import dot_score
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from art.data.cloze import inverse_cloze
from art.data.contrastive import ContrastiveItem
from art.demo.corpus import iter_passages
from art.retriever.loading import create_retriever
from art.training.methods.dpr import dpr_step
from art.training.progress import PhaseTimer
from art.training.schedule import MicroBatch

TOLERANCE = 1e-4  # relative, in float32
SIDES = ("ours", "sentence-transformers")
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

Texts = tuple[str, str, str]  # a question, its positive, its negative
Learn = Callable[[list[Texts], int], float]  # leaves the gradient in the parameters


class Side(NamedTuple):
    model: nn.Module
    learn: Learn


def main() -> None:
    words = arguments()
    if words.memory:
        print(memory_of(words))
        return
    with tempfile.TemporaryDirectory() as folder:
        words.folder = Path(folder)
        make_encoder(words)
        # First, while this process holds no model of its own: both together are many gigabytes.
        peaks = {side: int(run_alone(side, words)) for side in SIDES}
        agree(words)
        speedups = {kind: measure(kind, words) for kind in ("equal", "real")}
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"machine: {machine}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("peak memory: " + ", ".join(f"{side} {peak} MB" for side, peak in peaks.items()))
    result = {
        "speedup_equal_lengths": round(speedups["equal"], 3),
        "speedup_real_lengths": round(speedups["real"], 3),
        "peak_memory_ratio": round(peaks[SIDES[0]] / peaks[SIDES[1]], 3),
    }
    print(json.dumps(result))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--hidden", type=int, default=768)
    parser.add_argument("--questions", type=int, default=16, help="of a step")
    parser.add_argument("--steps", type=int, default=8, help="timed, of each side")
    parser.add_argument("--max-length", type=int, default=256, help="tokens of a real text")
    parser.add_argument("--equal-length", type=int, default=128, help="tokens of an equal text")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--memory", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


# What both read


def make_encoder(words: argparse.Namespace) -> None:
    """Write an encoder with random weights and a tokenizer for the demonstration's passages."""
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=8000, special_tokens=SPECIAL)
    backend.train_from_iterator((text for _, _, text in islice(iter_passages(), 2000)), trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, SPECIAL.index(token)) for token in ("[CLS]", "[SEP]")],
    )
    PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    ).save_pretrained(words.folder)
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=words.hidden,
        num_hidden_layers=words.layers,
        num_attention_heads=words.hidden // 64,
        intermediate_size=4 * words.hidden,
    )
    BertModel(config).save_pretrained(words.folder)


def batches(kind: str, words: argparse.Namespace) -> list[list[Texts]]:
    """Return the texts of every step, and of one before to warm up."""
    rng = np.random.default_rng(0)
    count = words.questions * (words.steps + 1)
    passages = [text for _, _, text in islice(iter_passages(), 2 * count)]
    rng.shuffle(passages)
    pairs = [inverse_cloze(text, rng) for text in passages[:count]]
    found = [
        (question, text, negative)
        for (question, text), negative in zip(pairs, passages[count:], strict=True)
    ]
    if kind == "equal":  # so long that the limit cuts them all
        long = words.equal_length
        found = [tuple(" ".join((text.split() * long)[:long]) for text in texts) for texts in found]
    return [found[i : i + words.questions] for i in range(0, count, words.questions)]


def max_length(kind: str, words: argparse.Namespace) -> int:
    return words.equal_length if kind == "equal" else words.max_length


# The two sides


def ours(folder: Path, length: int, dropout: float) -> Side:
    retriever = create_retriever(
        str(folder),
        tied=True,
        pooling="cls",
        temperature=1.0,
        question_length=length,
        passage_length=length,
        dropout=dropout,
    )

    def learn(texts: list[Texts], step: int) -> float:
        questions, positives, negatives = (list(column) for column in zip(*texts, strict=True))
        blank = [""] * len(texts)
        ids = [
            retriever.question_template.questions(questions),
            retriever.passage_template(blank, positives),
            retriever.passage_template(blank, negatives),
        ]
        keys = np.arange(2 * len(texts), dtype=np.uint64).reshape(-1, 2)
        items = [
            ContrastiveItem(question, passages, own, own[:1])
            for question, *passages, own in zip(*ids, keys, strict=True)
        ]
        metrics = dpr_step(
            [MicroBatch(0, tuple(range(len(items))))],
            lambda positions: [items[i] for i in positions],
            model=retriever,
            retriever=retriever,
            seed=0,
            step=step,
            timer=PhaseTimer(),
        )
        return metrics.sums["loss"] / len(items)

    return Side(retriever, learn)


def sentence_transformers(folder: Path, length: int, dropout: float) -> Side:
    transformer = Transformer(str(folder), max_seq_length=length)
    for module in transformer.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    pooling = Pooling(transformer.get_embedding_dimension(), "cls")
    model = SentenceTransformer(modules=[transformer, pooling], device="cpu")
    loss = MultipleNegativesRankingLoss(model, scale=1.0, similarity_fct=dot_score)

    def learn(texts: list[Texts], step: int) -> float:
        model.train()
        torch.manual_seed(step)
        features = [model.preprocess(list(column)) for column in zip(*texts, strict=True)]
        value = loss(features, None)
        value.backward()
        return value.item()

    return Side(model, learn)


MAKE = dict(zip(SIDES, (ours, sentence_transformers), strict=True))


# What is measured


def agree(words: argparse.Namespace) -> None:
    """Make sure that both compute the same loss and gradient."""
    (texts, *_) = batches("real", words)
    losses, norms = [], []
    for make in MAKE.values():
        side = make(words.folder, words.max_length, 0.0)
        losses.append(side.learn(texts, 0))
        gradients = [p.grad for p in side.model.parameters() if p.grad is not None]
        norms.append(nn.utils.get_total_norm(gradients).item())
    np.testing.assert_allclose(losses[0], losses[1], rtol=TOLERANCE)
    np.testing.assert_allclose(norms[0], norms[1], rtol=TOLERANCE)


def optimiser_step(side: Side, optimizer: torch.optim.Optimizer, texts: list[Texts], step: int):
    optimizer.zero_grad(set_to_none=True)
    side.learn(texts, step)
    nn.utils.clip_grad_norm_(side.model.parameters(), 1.0)
    optimizer.step()


def optimizer_of(side: Side) -> torch.optim.Optimizer:
    return torch.optim.AdamW(side.model.parameters(), lr=2e-5)


def measure(kind: str, words: argparse.Namespace) -> float:
    """Return how many times our questions a second theirs are, each step on both in turn.

    The median of the steps' own ratios: both sides of a step run one after the other, so a core
    that is busy with something else for a while moves one ratio and not the result.
    """
    sides = {name: make(words.folder, max_length(kind, words), 0.1) for name, make in MAKE.items()}
    optimizers = {name: optimizer_of(side) for name, side in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for step, texts in enumerate(batches(kind, words)):
        for name in SIDES if step % 2 else SIDES[::-1]:
            start = time.perf_counter()
            optimiser_step(sides[name], optimizers[name], texts, step)
            if step > 0:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    for name, taken in seconds.items():
        rate = words.questions * words.steps / sum(taken)
        print(f"{kind} lengths, {name}: {rate:.2f} questions/s")
    ratios = [theirs / own for own, theirs in zip(*map(seconds.get, SIDES), strict=True)]
    print(f"{kind} lengths, each step: {', '.join(f'{ratio:.2f}' for ratio in ratios)} x")
    return statistics.median(ratios)


def memory_of(words: argparse.Namespace) -> int:
    """Return the peak memory of this process after two steps of one side, in MB."""
    side = MAKE[words.memory](words.folder, words.max_length, 0.1)
    optimizer = optimizer_of(side)
    for step, texts in enumerate(batches("real", words)[:2]):
        optimiser_step(side, optimizer, texts, step)
    return round(peak_memory())


def run_alone(side: str, words: argparse.Namespace) -> str:
    options = ("questions", "steps", "max_length", "folder")
    command = [sys.executable, __file__, "--memory", side]
    for name in options:
        command += [f"--{name.replace('_', '-')}", str(getattr(words, name))]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.split()[-1]


if __name__ == "__main__":
    main()
