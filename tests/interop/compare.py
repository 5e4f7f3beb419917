"""What the reading scripts share: cases that have an export, and a line per comparison.

Runs in environments without art: nothing but NumPy is imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TOLERANCE = 1e-5


def cases(target: str) -> Iterator[tuple[Path, Path, dict[str, list[str]]]]:
    """Yield (case, its export, its texts) of every case that was exported to a target."""
    for case in sorted((Path(sys.argv[1]) / "cases").iterdir()):
        if (case / target).is_dir():
            yield case, case / target, json.loads((case / "texts.json").read_text())


def compare(
    tool: str,
    case: Path,
    questions: object,
    passages: object,
    note: str = "",
    rows: list[int] | None = None,
) -> None:
    """Print a row of the table; end with an error where vectors differ.

    Args:
        tool: with its version.
        case: its folder.
        questions: the tool's vectors.
        passages: the tool's vectors.
        note: what else the row says.
        rows: the passages that were given to the tool; all where None.
    """
    found = {"questions": questions, "passages": passages}
    differences = []
    for name, vectors in found.items():
        ours, theirs = np.load(case / f"{name}.npy"), np.asarray(vectors, dtype=np.float32)
        ours = ours[rows] if name == "passages" and rows is not None else ours
        assert ours.shape == theirs.shape, (case.name, name, ours.shape, theirs.shape)
        differences.append(float(np.abs(ours - theirs).max()))
    print(f"| {tool} | {case.name}{note} | {max(differences):.1e} |", flush=True)
    if not max(differences) <= TOLERANCE:
        sys.exit(f"{tool}: {case.name}: vectors differ by {max(differences)}")
