"""Files as a bad disk leaves them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Damage = Literal["cut", "flipped", "gone"]


def spoil(path: Path, damage: Damage) -> bytes:
    """Cut a file off, flip a bit in its middle, or remove it; return what it held."""
    contents = path.read_bytes()
    path.unlink()  # hard links keep what they have
    middle = len(contents) // 2
    if damage == "cut":
        path.write_bytes(contents[:middle])
    elif damage == "flipped":
        flipped = bytes([contents[middle] ^ 1])
        path.write_bytes(contents[:middle] + flipped + contents[middle + 1 :])
    return contents
