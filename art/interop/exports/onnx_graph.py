"""`--to onnx`: a graph per tower from token ids to vectors, with its tokenizer beside it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from art.errors import ArtError
from art.interop.exports.base import EXPORTS, Export, Source
from art.interop.tokenizers import write_tokenizer
from art.interop.towers import TowerParts, precision_notes

_PACKAGES = ("onnx", "onnxscript")
_FOLDERS = {"question": "query", "passage": "document"}
# Protocol buffers end at 2 GiB: larger weights go into a file beside the graph.
_LARGEST_GRAPH = 1_900_000_000


class OnnxGraph(Export):
    """An ONNX graph with pooling, projection and normalisation inside."""

    name: ClassVar[str] = "onnx"
    description: ClassVar[str] = "model.onnx and tokenizer.json, per tower"
    library: ClassVar[str] = "onnx"

    def check(self, source: Source) -> None:
        """Refuse where the packages that write graphs are missing."""
        missing = [name for name in _PACKAGES if find_spec(name) is None]
        if missing:
            raise ArtError(
                f"a graph cannot be written without {' and '.join(missing)}",
                hint="`pip install 'art-retriever[onnx]'`",
            )

    def write(self, source: Source, folder: Path) -> None:
        """Write the files of the one tower, or `query/` and `document/`."""
        if source.tied:
            _write_tower(source.passage, folder)
            return
        for parts in (source.question, source.passage):
            target = folder / _FOLDERS[parts.side]
            target.mkdir()
            _write_tower(parts, target)

    def notes(self, source: Source) -> Iterator[str]:
        """Yield prefixes, which a graph cannot add, the one length of one tower, and precision."""
        question, passage = source.question, source.passage
        for parts in (question, passage):
            if parts.prefix:
                yield f"a graph adds no prefix: put {parts.prefix!r} before every {parts.side}"
        if source.tied and question.max_length != passage.max_length:
            yield (
                f"tokenizer.json cuts at the passages' {passage.max_length} tokens; art cuts"
                f" questions at {question.max_length}"
            )
        yield from precision_notes(passage)

    def usage(self, source: Source) -> str:
        """Return the lines that encode a text with onnxruntime."""
        folder = "PATH" if source.tied else "PATH/query"
        return "\n".join(
            [
                "```python",
                "import numpy as np, onnxruntime, tokenizers",
                "",
                f'tokenizer = tokenizers.Tokenizer.from_file("{folder}/tokenizer.json")',
                f"tokenizer.enable_padding(pad_id={source.question.pad_id})",
                f'session = onnxruntime.InferenceSession("{folder}/model.onnx")',
                'encodings = tokenizer.encode_batch(["who built the bridge?"])',
                "feed = {",
                '    "input_ids": np.array([one.ids for one in encodings]),',
                '    "attention_mask": np.array([one.attention_mask for one in encodings]),',
                "}",
                "(vectors,) = session.run(None, feed)",
                "```",
            ]
        )


class _Graph(nn.Module):
    """A tower as a graph calls it: the mask in whole numbers, as tokenizers give it."""

    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the vectors, [n, D], of ids and mask [n, L] int64."""
        vectors: Tensor = self.tower(input_ids, attention_mask.bool())
        return vectors


def _write_tower(parts: TowerParts, folder: Path) -> None:
    write_tokenizer(parts, folder, truncate=True)
    num_bytes = sum(one.numel() * one.element_size() for one in parts.tower.parameters())
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    ids = torch.full((2, 7), parts.pad_id)
    with torch.no_grad():
        torch.onnx.export(
            _Graph(parts.tower).eval(),
            (ids, torch.ones_like(ids)),
            folder / "model.onnx",
            input_names=["input_ids", "attention_mask"],
            output_names=["embedding"],
            dynamic_shapes={"input_ids": dynamic, "attention_mask": dynamic},
            dynamo=True,
            external_data=num_bytes > _LARGEST_GRAPH,
            verbose=False,
        )


EXPORTS.add(OnnxGraph())
