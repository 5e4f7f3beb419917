"""The targets of `art export`, a module each: another one is another file here.

    base  what a target says of itself

A file in this folder that adds an object to `EXPORTS` is all that a new target takes.
"""

from art.interop.exports.base import EXPORTS, Export, Exported
from art.registry import import_all

import_all(__name__, __path__)

__all__ = ["EXPORTS", "Export", "Exported"]
