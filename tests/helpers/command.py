"""The command line in this process, as a user would call it."""

from __future__ import annotations

import sys

from art import cli


def run(*words: object) -> int:
    """Run `art` with these words; return its exit status."""
    sys.argv = ["art", *map(str, words)]
    try:
        cli.main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0
