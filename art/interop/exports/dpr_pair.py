"""`--to hf-dpr`: the pair of encoders that transformers has classes for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from art.errors import ArtError
from art.files import write_text
from art.interop.exports.base import EXPORTS, Export, Exported
from art.interop.tokenizers import write_tokenizer, write_tokenizer_config
from art.interop.towers import TowerParts, encoding_notes

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_FOLDERS = {"question": "question_encoder", "passage": "ctx_encoder"}


class DprPair(Export):
    """`DPRQuestionEncoder` and `DPRContextEncoder`, a folder each."""

    name: ClassVar[str] = "hf-dpr"
    description: ClassVar[str] = "transformers' DPRQuestionEncoder and DPRContextEncoder"
    library: ClassVar[str] = "transformers"

    def check(self, source: Exported) -> None:
        """Refuse what DPR's classes do not compute."""
        for parts in (source.question, source.passage):
            reason = _obstacle(parts)
            if reason is not None:
                raise ArtError(
                    f"DPR's classes are BERT's first position, unscaled, and this {parts.side}"
                    f" tower {reason}",
                    hint="export to sentence-transformers or onnx",
                )

    def write(self, source: Exported, folder: Path) -> None:
        """Write both folders."""
        for parts in (source.question, source.passage):
            target = folder / _FOLDERS[parts.side]
            target.mkdir()
            dpr_encoder(parts).save_pretrained(target)
            write_tokenizer(parts, target)
            write_tokenizer_config(parts, target)
            _write_vocabulary(target)

    def notes(self, source: Exported) -> Iterator[str]:
        """Yield prefixes, which DPR's tokenizers do not add, and precision."""
        for parts in (source.question, source.passage):
            if parts.prefix:
                yield (
                    f"DPR's classes add no prefix: put {parts.prefix!r} before every {parts.side}"
                )
        yield from encoding_notes(source.passage)

    def usage(self, source: Exported) -> str:
        """Return the lines that encode a question."""
        between = json.dumps(source.passage.between)
        return "\n".join(
            [
                "```python",
                "from transformers import AutoTokenizer, DPRContextEncoder, DPRQuestionEncoder",
                "",
                'tokenizer = AutoTokenizer.from_pretrained("PATH/question_encoder")',
                'encoder = DPRQuestionEncoder.from_pretrained("PATH/question_encoder")',
                'batch = tokenizer(["who built the bridge?"], padding=True, truncation=True,',
                '                  return_tensors="pt")',
                "vectors = encoder(**batch).pooler_output",
                "```",
                "",
                f"Passages: `DPRContextEncoder` on `PATH/ctx_encoder`, as title, {between}, text",
                "in one string. Scores are inner products.",
            ]
        )


def _obstacle(parts: TowerParts) -> str | None:
    """Return why DPR's classes cannot be this tower; None where they can."""
    if parts.backbone.config.model_type != "bert":
        return f"is a {parts.backbone.config.model_type}"
    if parts.pooling != "cls":
        return f"takes {parts.pooling} pooling"
    if parts.normalize:
        return "scales its vectors to length 1"
    if any(type(activation).__name__ != "Identity" for _, activation in parts.projection):
        return "has an activation behind its projection"
    if len(parts.projection) > 1:
        return "has several layers behind its pooling"
    return None


def dpr_encoder(parts: TowerParts) -> PreTrainedModel:
    """Return the weights of a tower in DPR's class for its side."""
    import torch
    from transformers import BertConfig, DPRConfig, DPRContextEncoder, DPRQuestionEncoder

    shared = BertConfig().to_dict().keys() - {"architectures", "model_type"}
    known = parts.backbone.config.to_dict()
    fields = {name: value for name, value in known.items() if name in shared}
    size = parts.embedding_size if parts.projection else 0
    config = DPRConfig(**fields, projection_dim=size)
    if parts.side == "question":
        model = DPRQuestionEncoder(config)
        encoder = model.question_encoder
    else:
        model = DPRContextEncoder(config)
        encoder = model.ctx_encoder
    encoder.bert_model.load_state_dict(parts.backbone.state_dict())
    for layer, _ in parts.projection:  # one at most
        bias = layer.bias
        with torch.no_grad():
            encoder.encode_proj.weight.copy_(layer.weight)
            # DPR's layer has a bias in any case.
            encoder.encode_proj.bias.copy_(torch.zeros(size) if bias is None else bias)
    return model


def _write_vocabulary(folder: Path) -> None:
    """Write `vocab.txt`, which DPR's own tokenizer classes of transformers 4 read."""
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    if model["type"] == "WordPiece":
        pieces = sorted(model["vocab"], key=model["vocab"].get)
        write_text(folder / "vocab.txt", "".join(f"{piece}\n" for piece in pieces))


EXPORTS.add(DprPair())
