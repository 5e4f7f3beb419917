"""How threads wait: said before a library that starts them is loaded, unless the user said it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
CHECK = (
    "import os, sys, art; print('torch' in sys.modules, "
    f"*(os.environ.get(name) for name in {NAMES}))"
)


def said(**own: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    words = [sys.executable, "-c", CHECK]
    done = subprocess.run(words, env=environment | own, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_threads_sleep_soon() -> None:
    assert said() == "False None 1000 1"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("OMP_WAIT_POLICY", "False active None None"),
        ("GOMP_SPINCOUNT", "False None active None"),
        ("KMP_BLOCKTIME", "False None None active"),
    ],
)
def test_what_the_user_said_stays(name: str, kept: str) -> None:
    assert said(**{name: "active"}) == kept
