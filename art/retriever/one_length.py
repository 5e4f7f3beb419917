"""Towers whose vectors padding would change, such as FNet's: found out as they load."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from art import distributed
from art.data.together import padding_changes
from art.data.tokens import pad
from art.errors import notify
from art.retriever.encoders import Tower, padding_id
from art.weights import loading_model

# What every tower is asked: a text of a token or so, and one of two dozen.
_TEXTS = ("a", "who built the old bridge behind the mill, and when did it fall into the river?")


def read_one_length(
    towers: Sequence[Tower], tokenizer: PreTrainedTokenizerBase, longest: int
) -> None:
    """Have towers encode one length at a time where padding changes their vectors, and say so.

    Args:
        towers: in evaluation mode.
        tokenizer: whose ids they read.
        longest: tokens of a text at most.

    Raises:
        ArtError: a tower encodes one text otherwise each time, or otherwise beside other texts.
    """
    for tower in towers:
        tower.one_length = _padding_changes(tower, tokenizer, longest)
    kinds = dict.fromkeys(one.backbone.config.model_type for one in towers if one.one_length)
    for kind in kinds if distributed.is_main() else ():
        notify(
            f"padding changes the vectors of {kind}: texts are encoded one length at a time, which"
            " takes longer"
        )


def _padding_changes(tower: Tower, tokenizer: PreTrainedTokenizerBase, longest: int) -> bool:
    """Return whether a tower gives a text another vector beside a longer one, in float32."""
    exact = copy.copy(tower)
    exact.dtype = "float32"

    def vectors(rows: Sequence[list[int]]) -> NDArray[np.float32]:
        ids, mask = pad(rows, pad_id=padding_id(tokenizer))
        with torch.no_grad():
            found: NDArray[np.float32] = exact.together(ids, mask).numpy()
        return found

    short, long = (tokenizer(text)["input_ids"][:longest] for text in _TEXTS)
    with loading_model(tower.backbone.name_or_path):
        kind = tower.backbone.config.model_type
        return padding_changes(vectors, short or long[:1], long, name=kind)
