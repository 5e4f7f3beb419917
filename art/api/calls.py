"""What every call from Python does: join the processes of its job, and complain briefly."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

from art import distributed
from art.errors import ArtError

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")

DATA_FOLDER = "data"  # of a run or an index: what was given in memory


def briefly(call: Callable[Parameters, Value]) -> Callable[Parameters, Value]:
    """Let what a user can repair arrive as its message, without the frames it came through."""

    @wraps(call)
    def brief(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Value:
        try:
            return call(*args, **kwargs)
        except ArtError as error:
            # A notebook keeps the last exception, and its frames would keep models in memory.
            error.__context__ = None
            raise error.with_traceback(None) from None

    return brief


def join(*, cpu: bool) -> torch.device:
    """Join the other processes, if a launcher started several, and leave them when this one ends.

    Who has left a group cannot join it again, so nobody does between two calls.
    """
    device = distributed.start(cpu=cpu)
    if distributed.world_size() > 1:
        atexit.register(distributed.stop)
    return device
