"""`--to onnx`: a graph per tower from token ids to vectors, with its tokenizer beside it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from art.errors import ArtError
from art.interop.exports.base import EXPORTS, Export, Exported
from art.interop.tokenizers import write_tokenizer
from art.interop.towers import TowerParts, encoding_notes

if TYPE_CHECKING:
    from art.retriever.encoders import Tower

_OUTPUT = "embedding"
_PACKAGES = ("onnx", "onnxscript")
_FOLDERS = {"question": "query", "passage": "document"}
# Protocol buffers end at 2 GiB: larger weights go into a file beside the graph.
_LARGEST_GRAPH = 1_900_000_000


class OnnxGraph(Export):
    """An ONNX graph with pooling, projection and normalisation inside."""

    name: ClassVar[str] = "onnx"
    description: ClassVar[str] = "model.onnx and tokenizer.json, per tower"
    library: ClassVar[str] = "onnx"

    def check(self, source: Exported) -> None:
        """Refuse where the packages that write graphs are missing."""
        missing = [name for name in _PACKAGES if find_spec(name) is None]
        if missing:
            raise ArtError(
                f"a graph cannot be written without {' and '.join(missing)}",
                hint="`pip install 'art-retriever[onnx]'`",
            )

    def write(self, source: Exported, folder: Path) -> None:
        """Write the files of the one tower, or `query/` and `document/`."""
        if source.tied:
            _write_tower(source.passage, folder)
            return
        for parts in (source.question, source.passage):
            target = folder / _FOLDERS[parts.side]
            target.mkdir()
            _write_tower(parts, target)

    def notes(self, source: Exported) -> Iterator[str]:
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
        yield from encoding_notes(passage)

    def usage(self, source: Exported) -> str:
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

    def __init__(self, tower: Tower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the vectors, [n, D], of ids and mask [n, L] int64."""
        return self.tower.together(input_ids, attention_mask.bool())


def _write_tower(parts: TowerParts, folder: Path) -> None:
    write_tokenizer(parts, folder, truncate=True)
    num_bytes = sum(one.numel() * one.element_size() for one in parts.tower.parameters())
    dynamic = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    ids = torch.full((2, 7), parts.pad_id)
    with torch.no_grad(), _quiet():
        try:
            program = torch.onnx.export(
                _Graph(parts.tower).eval(),
                (ids, torch.ones_like(ids)),
                input_names=["input_ids", "attention_mask"],
                output_names=[_OUTPUT],
                dynamic_shapes={"input_ids": dynamic, "attention_mask": dynamic},
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            kind = parts.backbone.config.model_type
            raise ArtError(f"PyTorch cannot write {kind} as an ONNX graph: {error}") from error
    assert program is not None  # it is where `dynamo` is true
    _free_output_name(program)
    program.save(folder / "model.onnx", external_data=num_bytes > _LARGEST_GRAPH)


def _free_output_name(program: torch.onnx.ONNXProgram) -> None:
    """Rename what has the output's name inside the graph, as a table of tokens often has."""
    outputs = program.model.graph.outputs
    for node in program.model.graph:
        for value in node.outputs:
            if value.name == _OUTPUT and value not in outputs:
                value.name = f"{_OUTPUT}_of_tokens"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the exporter says of its own code and of packages it can do without off."""
    exporter = logging.getLogger("torch.onnx")
    before = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(before)


EXPORTS.add(OnnxGraph())
