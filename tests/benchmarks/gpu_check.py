"""What only a GPU can show, in six minutes: that it computes what a CPU does, and how fast.

PYTHONPATH=. python tests/benchmarks/gpu_check.py [PART …]      # or bash launch/gpu-check.sh

Parts, each in a process of its own with a time limit of its own, so that none takes another along:
    tests    the tests marked `gpu`
    search   21 million float16 rows resident, 64 questions; a slice compared with NumPy in float64
    embed    100,000 passages through a BERT-base, 16,384 and 65,536 tokens at once
    teacher  pairs a second and memory of a T0-3B that scores questions
    nccl     one NCCL process with DDP: a gradient in chunks is the gradient of the whole
All weights, token ids and rows are random, made on the device; nothing is downloaded, and FAISS is
not needed. Without a GPU the same parts run on the CPU with sizes so small that their figures mean
nothing, and say so.

Prints each figure on a line, and last a line of JSON. The exit status is 0 if every part passed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Sizes:
    """How much there is to do."""

    num_rows: int
    num_passages: int
    tokens_at_once: tuple[int, int]
    bert: dict[str, int]
    t5: dict[str, int]
    num_questions: int
    top_k: int


FULL = Sizes(
    num_rows=21_015_324,
    num_passages=100_000,
    tokens_at_once=(16_384, 65_536),
    bert={},  # transformers' defaults are BERT-base
    t5={
        "d_model": 2048,
        "d_kv": 64,
        "d_ff": 5120,
        "num_layers": 24,
        "num_heads": 32,
        "vocab_size": 32_128,
    },
    num_questions=64,
    top_k=32,
)
TINY = Sizes(
    num_rows=20_000,
    num_passages=100,
    tokens_at_once=(1024, 4096),
    bert={
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    },
    t5={
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "vocab_size": 500,
    },
    num_questions=4,
    top_k=4,
)
EMBEDDING_SIZE = 768
BLOCK_ROWS = 65_536  # of a shard
CHECKED_ROWS = 200_000
GIB = 1 << 30


def report(name: str, value: float, unit: str) -> None:
    """Tell the process that started this one a figure."""
    print(json.dumps({"figure": name, "value": value, "unit": unit}), flush=True)


def check(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"failed: {what}")


class Device:
    """The GPU, or the CPU where there is none."""

    def __init__(self) -> None:
        import torch

        self.has_gpu = torch.cuda.is_available()
        self.device = torch.device("cuda", 0) if self.has_gpu else torch.device("cpu")
        self.sizes = FULL if self.has_gpu else TINY
        torch.manual_seed(0)

    def timed(self, name: str, work: Callable[[], Any]) -> tuple[float, Any]:
        """Report the seconds and the peak memory of some work; return them and its result."""
        import torch

        self.wait()
        if self.has_gpu:
            torch.cuda.reset_peak_memory_stats()
        start = time.perf_counter()
        result = work()
        self.wait()
        seconds = time.perf_counter() - start
        report(name, seconds, "s")
        if self.has_gpu:
            report(f"{name}, peak memory", torch.cuda.max_memory_allocated() / GIB, "GiB")
        return seconds, result

    def wait(self) -> None:
        import torch

        if self.has_gpu:
            torch.cuda.synchronize()


def run_tests(here: Device) -> None:
    files = [
        str(path)
        for path in sorted(ROOT.glob("tests/**/test_*.py"))
        if "pytest.mark.gpu" in path.read_text()
    ]
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "-rs", *files],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(said.stdout, flush=True)
    check(said.returncode == 0, "a test marked gpu")
    if here.has_gpu:
        check("skipped" not in said.stdout, "a test marked gpu was skipped")


def search(here: Device) -> None:
    import torch

    from art.retriever import nearest
    from art.retriever import search as searching
    from art.retriever.blocks import Blocks, RowBlock

    if not here.has_gpu:
        searching.nearest = nearest._by_product  # as on a GPU without FAISS

    def rows() -> Iterator[RowBlock]:
        for first in range(0, here.sizes.num_rows, BLOCK_ROWS):
            count = min(BLOCK_ROWS, here.sizes.num_rows - first)
            shape = (count, EMBEDDING_SIZE)
            yield RowBlock(first, torch.randn(shape, device=here.device, dtype=torch.float16))

    _, made = here.timed(f"{here.sizes.num_rows:,} rows made", lambda: list(rows()))
    norm = max(float(block.vectors.float().norm(dim=1).max()) for block in made)
    questions = torch.randn(here.sizes.num_questions, EMBEDDING_SIZE).numpy()
    top_k = here.sizes.top_k

    def ask(blocks: list[RowBlock]) -> tuple[np.ndarray, np.ndarray]:
        return searching.search(Blocks(blocks, here.device, EMBEDDING_SIZE, norm), questions, top_k)

    for number in ("first", "second", "third"):
        here.timed(f"{number} search of {len(questions)} questions", lambda: ask(made))
    some = made[: -(-CHECKED_ROWS // BLOCK_ROWS)]
    scores, found = ask(some)
    vectors = np.concatenate([block.vectors.cpu().numpy() for block in some]).astype(np.float64)
    for question, its_scores, its_rows in zip(questions[:4], scores, found, strict=False):
        exact = vectors @ question.astype(np.float64)
        best = np.argsort(-exact, kind="stable")[:top_k]
        check(bool((its_rows == best).all()), "search finds what NumPy finds")
        check(bool(np.allclose(its_scores, exact[best], rtol=1e-12)), "scores are NumPy's")


def retriever_of(here: Device, dtype: str) -> Any:
    """Return a retriever of random weights whose texts are token ids already."""
    import torch
    from transformers import BertConfig, BertModel

    sys.path.insert(0, str(ROOT / "tests" / "helpers"))
    from tiny_bert import tiny_tokenizer

    from art.retriever.encoders import Retriever, Tower
    from art.retriever.settings import RetrieverSettings

    with torch.device(here.device):
        backbone = BertModel(BertConfig(**here.sizes.bert), add_pooling_layer=False)
    tower = Tower(backbone, pooling="cls", normalize=False, dtype=dtype)
    settings = RetrieverSettings(
        pooling="cls",
        normalize=False,
        temperature=EMBEDDING_SIZE**0.5,
        question_length=64,
        passage_length=256,
        question_prefix="",
        passage_prefix="",
        num_layers=None,
        projection_size=None,
        dtype=dtype,
        tied=True,
    )
    return Retriever(tower, tower, tiny_tokenizer(["moon"]), settings)


def sequences(count: int, mean: int, most: int, largest: int = 400) -> list[np.ndarray]:
    """Return random token ids, in lengths as passages of a hundred words have them."""
    rng = np.random.default_rng(count)
    lengths = np.clip(rng.normal(mean, mean / 5, count), 4, most).astype(int)
    return [rng.integers(5, largest, length) for length in lengths]


def embed(here: Device) -> None:
    passages = sequences(here.sizes.num_passages, mean=140, most=256)
    num_tokens = sum(map(len, passages))
    retriever = retriever_of(here, "bfloat16" if here.has_gpu else "float32")
    retriever.embed_tokens("passage", passages[:1000])  # kernels are chosen at the first call
    for most in here.sizes.tokens_at_once:
        work = partial(retriever.embed_tokens, "passage", passages, batch_tokens=most)
        seconds, vectors = here.timed(f"{len(passages):,} passages, {most:,} tokens at once", work)
        report(f"passages a second, {most:,} tokens at once", len(passages) / seconds, "")
        report(f"tokens a second, {most:,} tokens at once", num_tokens / seconds, "")
        check(bool(np.isfinite(vectors).all()), "vectors are finite")
    exactly = retriever_of(here, "float32")
    exactly.load_state_dict(retriever.state_dict())
    alone = np.concatenate([exactly.embed_tokens("passage", [one]) for one in passages[:64]])
    norms = np.linalg.norm(alone, axis=1) * np.linalg.norm(vectors[:64], axis=1)
    cosines = (alone * vectors[:64]).sum(axis=1) / norms
    report("cosine to float32, one passage at a time", float(cosines.min()), "")
    check(float(cosines.min()) > 0.99, "vectors are those of float32")


def teacher(here: Device) -> None:
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    from art.teacher.kinds.question_likelihood import QuestionLikelihood

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if here.has_gpu else torch.float32)
    config = T5Config(
        **here.sizes.t5,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        decoder_start_token_id=0,
    )
    with torch.device(here.device):
        model = T5ForConditionalGeneration(config)
    torch.set_default_dtype(before)
    template = SimpleNamespace(family="encoder-decoder")
    scorer = QuestionLikelihood(model, template, fingerprint="random")
    report("parameters", sum(p.numel() for p in model.parameters()), "")
    count = here.sizes.num_questions * here.sizes.top_k
    targets = sequences(count, mean=14, most=40)
    contexts = sequences(count, mean=170, most=300)
    # A passage for each pair, as in a step; then one for four of them, as when prefetching.
    for name, given in (("apart", contexts), ("shared by four", contexts[: count // 4] * 4)):
        scorer.log_likelihoods(given[:64], targets[:64])
        work = partial(scorer.log_likelihoods, given, targets)
        seconds, scores = here.timed(f"{count:,} pairs, passages {name}", work)
        report(f"pairs a second, passages {name}", count / seconds, "")
        check(bool(np.isfinite(scores).all()), "scores are finite")


def nccl(here: Device) -> None:
    import torch
    from torch.nn.parallel import DistributedDataParallel

    from art import distributed
    from art.data.contrastive import ContrastiveItem
    from art.training.methods.dpr import dpr_step
    from art.training.progress import PhaseTimer
    from art.training.schedule import MicroBatch

    with tempfile.TemporaryDirectory() as folder:
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if here.has_gpu else "gloo",
            init_method=f"file://{folder}/meeting",
            rank=0,
            world_size=1,
        )
        retriever = retriever_of(here, "float32")
        model = DistributedDataParallel(retriever)
        count = 2 * here.sizes.num_questions
        asked, passages = sequences(count, 14, 40), sequences(2 * count, 140, 256)
        items = [
            ContrastiveItem(
                asked[i],
                passages[2 * i : 2 * i + 2],
                np.array([2 * i, 2 * i + 1], dtype=np.uint64),
                np.array([2 * i], dtype=np.uint64),
            )
            for i in range(count)
        ]

        def gradient(chunk_tokens: int | None) -> torch.Tensor:
            retriever.zero_grad(set_to_none=True)
            dpr_step(
                [MicroBatch(0, tuple(range(count)))],
                lambda places: [items[i] for i in places],
                model=model,
                retriever=retriever,
                seed=1,
                step=0,
                timer=PhaseTimer(here.device),
                chunk_tokens=chunk_tokens,
            )
            grads = [p.grad for p in retriever.parameters() if p.grad is not None]
            return torch.cat([grad.flatten() for grad in grads]).double().cpu()

        for dropout in (one for one in retriever.modules() if isinstance(one, torch.nn.Dropout)):
            dropout.p = 0.0  # masks are drawn a chunk at a time
        found = {}
        most = here.sizes.tokens_at_once[0] // 4
        for name, chunk_tokens in (("whole", None), ("in chunks", most)):
            gradient(chunk_tokens)  # kernels are chosen at the first call
            work = partial(gradient, chunk_tokens)
            _, found[name] = here.timed(f"step of {count} questions, {name}", work)
        whole, chunked = found["whole"], found["in chunks"]
        difference = float((whole - chunked).norm() / whole.norm())
        report("difference of the gradients, relative", difference, "")
        check(difference < 1e-3, "a gradient in chunks is that of the whole")
        distributed.stop()


PARTS: dict[str, tuple[Callable[[Device], None], float]] = {
    "tests": (run_tests, 70),
    "search": (search, 60),
    "embed": (embed, 80),
    "teacher": (teacher, 70),
    "nccl": (nccl, 50),
}
"""Each part with the seconds after which it is ended; 330 in all."""


def run_part(name: str) -> dict[str, Any]:
    """Run a part in a process of its own; print its figures, and return them."""
    limit = PARTS[name][1]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, __file__, "--here", name],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        start_new_session=True,  # so that what it started ends with it
    )
    fault = None
    try:
        said, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        fault = f"took longer than {limit:.0f} s"
    except BaseException:  # this process is being ended: nothing may stay on the GPU
        os.killpg(process.pid, signal.SIGKILL)
        raise
    figures = {}
    for line in said.splitlines():
        if line.startswith('{"figure"'):
            found = json.loads(line)
            figures[found["figure"]] = found["value"]
            line = f"{found['figure']}: {found['value']:.4g} {found['unit']}".rstrip()
        print(f"{name}: {line}")
    if fault is None and process.returncode != 0:
        fault = f"ended with status {process.returncode}"
    seconds = time.perf_counter() - start
    print(f"{name}: {'passed' if fault is None else fault}, {seconds:.0f} s", flush=True)
    return {"passed": fault is None, "fault": fault, "seconds": round(seconds, 1), **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=[*PARTS], help=", ".join(PARTS))
    parser.add_argument("--here", choices=[*PARTS], help="run one part in this process")
    words = parser.parse_args()
    if words.here:
        here = Device()
        if not here.has_gpu:
            print("no GPU: tiny sizes on the CPU, figures mean nothing")
        PARTS[words.here][0](here)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    results = {name: run_part(name) for name in words.parts}
    passed = all(result["passed"] for result in results.values())
    print(json.dumps({"passed": passed, **machine(), "parts": results}))
    sys.exit(0 if passed else 1)


def machine() -> dict[str, Any]:
    import torch
    import transformers

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return {"gpu": gpu, "torch": torch.__version__, "transformers": transformers.__version__}


if __name__ == "__main__":
    main()
