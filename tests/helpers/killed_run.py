"""Runs that die at a named call, as by a SIGKILL, within the process of the test."""

from __future__ import annotations

from typing import Any

import pytest

from art.config import Config
from art.training import loop


class KilledError(Exception):
    """Stands for a SIGKILL: nothing in the code under test catches it."""


def kill(config: Config, after: int, *, owner: Any = loop, name: str = "take_step") -> None:
    """Train until a function was called so many times, and die instead of the next call."""
    original, calls = getattr(owner, name), []

    def killing(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) > after:
            raise KilledError
        return original(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, killing)
        with pytest.raises(KilledError):
            loop.train(config)
