"""Memory that scoring adds to a loaded model: bounded by batch_tokens, whatever is to be scored.

python tests/benchmarks/scoring_memory.py                       # 1,024 pairs of the demo's corpus
python tests/benchmarks/scoring_memory.py --num-questions 4 --top-k 8 --batch-tokens 256 1024

An encoder-decoder model (T5-small's shape, random weights) and a decoder-only one (SmolLM2-135M)
score the passages that BM25 finds for some questions, as one training step would, in a process of
its own for each number of padded tokens at once. Beside the peak of its private memory over what it
held with the model loaded stands what the largest batch needs by the model's shape:
    states   of the contexts that are read once: keys and values by layer, or the encoder's
    layer    activations of one layer, with a copy of its states for every target, and attention as
             if no kernel fused it
    logits   at the targets' tokens, and the float32 copy of a chunk of them
and an allowance for the libraries. Prints a table and one line of JSON; fails where the peak is
above that bound. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from release_scoring import Pairs
from scoring import CAUSAL, encoded, peak_memory, private_memory, random_t5, retrieved
from transformers import PreTrainedConfig

from art.demo.run import write_data
from art.teacher.kinds.question_likelihood import QuestionLikelihood
from art.teacher.registry import load_teacher

_ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_CHUNK_BYTES = 3 * 4 << 22  # four million logits as float32: a copy, their softmax, a spare
_LIBRARY_BYTES = 32 << 20  # scratch of the matrix library and what malloc keeps, at any batch size


def main() -> None:
    words = arguments()
    if words.measure:
        print(json.dumps(measure(words.measure, words.batch_tokens[0], words)))
        return
    write_data(words.folder / "data")
    t5 = random_t5(words.folder / "t5-small-shape", texts_of(words))
    results: dict[str, dict[str, dict[str, float]]] = {}
    for name, model in (("encoder_decoder", str(t5)), ("causal", words.causal)):
        results[name] = {}
        for batch_tokens in words.batch_tokens:
            found = in_a_process_of_its_own(model, batch_tokens, words)
            results[name][str(batch_tokens)] = found
            print(
                f"{name:16} {batch_tokens:6} tokens at once: {found['added_mb']:7.0f} MB added, "
                f"bound {found['bound_mb']:7.0f} MB; model {found['model_mb']:5.0f} MB, "
                f"{found['num_pairs']:.0f} pairs",
                flush=True,
            )
    print(json.dumps(results))
    for name, by_size in results.items():
        for size, found in by_size.items():
            assert found["added_mb"] <= found["bound_mb"], (name, size, found)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path("runs/scoring-benchmark"))
    parser.add_argument("--num-questions", type=int, default=32)
    parser.add_argument("--top-k", type=int, default=32)
    parser.add_argument("--max-length", type=int, default=512, help="tokens of a context")
    parser.add_argument("--batch-tokens", type=int, nargs="+", default=[1024, 4096, 16384])
    parser.add_argument("--dtype", default="float32", choices=list(_ITEM_BYTES))
    parser.add_argument("--causal", default=CAUSAL, help="name of the decoder-only model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", help="a model: measure here, and print one line of JSON")
    return parser.parse_args()


def texts_of(words: argparse.Namespace):
    data = words.folder / "data"
    return retrieved(data / "passages.jsonl", data / "questions.train.txt", words)


def in_a_process_of_its_own(
    model: str, batch_tokens: int, words: argparse.Namespace
) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", model, "--batch-tokens", str(batch_tokens)]
    for name in ("folder", "num_questions", "top_k", "max_length", "dtype", "seed"):
        command += [f"--{name.replace('_', '-')}", str(getattr(words, name))]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def measure(model: str, batch_tokens: int, words: argparse.Namespace) -> dict[str, float]:
    texts = texts_of(words)
    before = private_memory()
    assert before is not None, "this system does not tell what a process holds"
    teacher = load_teacher(
        model, dtype=words.dtype, batch_tokens=batch_tokens, max_length=words.max_length
    )
    pairs = encoded(texts, teacher)
    teacher.log_likelihoods(pairs.contexts[:1], pairs.targets[:1])  # reads the weights
    loaded = private_memory()
    assert loaded is not None
    teacher.log_likelihoods(pairs.contexts, pairs.targets)
    return {
        "added_mb": round(peak_memory() - loaded, 1),
        "bound_mb": round(bound(teacher, pairs, _ITEM_BYTES[words.dtype]) / 1e6, 1),
        "model_mb": round(loaded - before, 1),
        "num_pairs": len(pairs.contexts),
    }


def bound(teacher: QuestionLikelihood, pairs: Pairs, item: int) -> float:
    """Return the bytes of the largest batch: everything is in proportion to batch_tokens."""
    config: PreTrainedConfig = teacher.model.config
    context, target = (max(map(len, some)) for some in (pairs.contexts, pairs.targets))
    shortest = min(map(len, pairs.contexts))
    # The longest target of a batch stands behind some context of it.
    targets = (target + 1) / (shortest + target)
    if teacher.family == "causal":
        heads = getattr(config, "num_key_value_heads", config.num_attention_heads)
        size = config.hidden_size // config.num_attention_heads
        states = 2 * heads * size * config.num_hidden_layers
        # Keys and values are repeated for each target, joined with its own and once more for the
        # heads that share them; then hidden states, queries, the gated layer in the middle.
        copies = 2 * (2 * heads * size + config.hidden_size)
        layer = copies + 6 * config.hidden_size + 3 * config.intermediate_size
        layer += 2 * config.num_attention_heads * (context + target)
    else:
        states = config.d_model
        inner = config.num_heads * config.d_kv
        # Positions are a bias of their own for every head, query and key.
        layer = 6 * config.d_model + 5 * inner + 3 * config.d_ff
        layer += 3 * config.num_heads * (context + target)
    per_token = states + layer + targets * config.vocab_size
    return item * teacher.batch_tokens * per_token + _CHUNK_BYTES + _LIBRARY_BYTES


if __name__ == "__main__":
    main()
