"""Whether a model reads a text beside longer ones as it reads it alone: asked of the model itself.

Short rows of a batch are padded, and the mask says where. Some models do not look at it, or not
everywhere, and then what they say of a text depends on what it was batched with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from art.errors import ArtError

Values = NDArray[np.floating[Any]]

# Of numbers up to about 10; float32 rounds larger ones more coarsely.
FLOAT32_TOLERANCE = 1e-4


def padding_changes(
    read: Callable[[Sequence[Any]], Values],
    short: Any,
    long: Any,
    *,
    name: str,
    tolerance: float = FLOAT32_TOLERANCE,
) -> bool:
    """Return whether a model gives two rows of different length other values together than alone.

    Args:
        read: n rows → their values, [n] or [n, D], in one padded batch.
        short: a row.
        long: a longer one.
        name: of the model.
        tolerance: of a value; more where values are larger than 10.

    Raises:
        ArtError: rows of one length, which nothing pads, get other values together too.
    """
    alone = [read([row])[0] for row in (short, long)]
    if not _differ(alone, read([short, long]), tolerance):
        return False
    if _differ([alone[1], alone[1]], read([long, long]), tolerance):
        raise ArtError(
            f"{name} reads one text otherwise each time, or otherwise beside other texts",
            hint="choose another model",
        )
    return True


def _differ(alone: Sequence[Values], together: Values, tolerance: float) -> bool:
    for one, other in zip(np.asarray(alone), together, strict=True):
        scale = max(1.0, float(np.linalg.norm(one)) / 10)
        if np.abs(one - other).max() > tolerance * scale:
            return True
    return False
