"""Processes of one job that see the disk as machines of their own do; hooks for `forked.fork`."""

from __future__ import annotations

import os

from art import integrity
from art.training.run_folder import RunFolder


def _is_elsewhere() -> bool:
    return int(os.environ["RANK"]) > 0


def in_a_folder_of_its_own() -> None:
    """Let relative names mean other folders than on rank 0's machine."""
    if _is_elsewhere():
        os.makedirs("elsewhere", exist_ok=True)
        os.chdir("elsewhere")


def listing_no_checkpoint() -> None:
    """Let the list of checkpoints be as old as a network file system may remember it."""
    if _is_elsewhere():
        RunFolder.steps = lambda run: []


def building_nothing() -> None:
    """Let every process but a machine's first fail where it would build a cache, or wait for it."""
    if int(os.environ["LOCAL_RANK"]) > 0:
        integrity.lock = None
