"""Kill tiny training runs at many moments; each must end with the bits of one never killed.

By hand: `python tests/soak/kill.py --num-kills 100`. Half of the kills fall at a uniformly random
moment of a run's life, several in one run; the other half right after one flush to disk or rename,
spread evenly over all of them (each is hit once there are twice as many kills). Every run begins
with an empty cache, so that stores and token files are built under fire as well. The last line is
JSON: {"kills": …, "identical": …}.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "helpers"))

from forked import DurableCalls, fork
from whole_run import configure, left_behind, tiny_settings

_PATIENCE = 600  # seconds; soaking goes on beside other work


class World:
    """Where the runs lie, and what each of them must leave behind."""

    def __init__(self, folder: Path, bert: Path, t5: Path, corpus: list[Any]) -> None:
        self.folder = folder
        self.settings = tiny_settings(folder, bert=bert, t5=t5, corpus=corpus)
        self.num_runs = 0
        self.begin()
        count = self.run / "count"
        self.start(DurableCalls(count)).ended(_PATIENCE)
        self.num_calls = int(count.read_text())
        self.expected = left_behind(self.run / "run")
        self.begin()
        started = time.perf_counter()  # only now is the parent warm
        assert self.goes_on_to_the_same()
        self.seconds = time.perf_counter() - started

    def begin(self) -> None:
        """Make room for a new run with a cache of its own."""
        self.num_runs += 1
        self.run = self.folder / f"run-{self.num_runs}"
        self.run.mkdir()
        cache = {"data": {"cache_folder": str(self.run / "cache")}}
        config = configure(self.settings, self.run / "run", **cache)
        (self.run / "config.yaml").write_text(config.to_yaml())

    def start(self, *before: Callable[[], None]) -> Any:
        """Start the run, or let it go on."""
        return fork(["train", "--config", self.run / "config.yaml"], self.run, before=before)[0]

    def goes_on_to_the_same(self) -> bool:
        """Let the run go on to its end; return whether it is what it must be."""
        status, said = self.start().ended(_PATIENCE)
        if status:
            print(f"{self.run}: status {status}\n{said}", flush=True)
            return False
        same = left_behind(self.run / "run") == self.expected
        if not same:
            print(f"{self.run}: not the same", flush=True)
        return same


def kill_at_random(world: World, most: int, rng: random.Random) -> tuple[int, bool]:
    """Kill one run up to `most` times; return how often it was, and whether it ended the same."""
    world.begin()
    kills = 0
    while kills < most:
        started = world.start()
        started.process.join(rng.uniform(0, world.seconds))
        started.process.kill()
        started.process.join()
        if started.process.exitcode == 0:
            break
        kills += 1
    return kills, world.goes_on_to_the_same()


def kill_after_call(world: World, call: int) -> bool:
    """Kill one run right after a flush or a rename; return whether it ended the same."""
    world.begin()
    status, said = world.start(DurableCalls(world.run / "count", die_after=call)).ended(_PATIENCE)
    if status != -signal.SIGKILL:
        print(f"{world.run}: status {status} instead of a kill\n{said}", flush=True)
        return False
    return world.goes_on_to_the_same()


def soak(world: World, num_kills: int, seed: int) -> dict[str, Any]:
    """Do all the kills; return how many there were and whether every run ended the same."""
    print(
        f"a run takes {world.seconds:.1f} s and makes {world.num_calls} flushes and renames",
        flush=True,
    )
    rng = random.Random(seed)
    kills, identical = 0, True
    while kills < num_kills // 2:
        some, same = kill_at_random(world, min(3, num_kills // 2 - kills), rng)
        kills, identical = kills + some, identical and same
        print(f"{kills} of {num_kills} kills, at random moments: {identical}", flush=True)
    num_in_turn = num_kills - kills
    for turn in range(num_in_turn):
        call = 1 + turn * world.num_calls // num_in_turn
        identical = kill_after_call(world, call) and identical
        kills += 1
        print(f"{kills} of {num_kills} kills, after call {call}: {identical}", flush=True)
    return {"kills": kills, "identical": identical}


class Wanted:
    """What the command line asks for, as a plugin of pytest, whose fixtures make the models."""

    def __init__(self, num_kills: int, seed: int) -> None:
        self._wanted = (num_kills, seed)
        self.result: dict[str, Any] | None = None

    @pytest.fixture
    def wanted(self) -> Wanted:
        return self

    def soak(self, world: World) -> None:
        self.result = soak(world, *self._wanted)


@pytest.mark.soak
def test_killed_runs_end_with_the_same_bits(tiny_bert, tiny_t5, corpus, tmp_path, wanted) -> None:
    wanted.soak(World(tmp_path, tiny_bert, tiny_t5, corpus))
    assert wanted.result["identical"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    wanted = Wanted(asked.num_kills, asked.seed)
    status = pytest.main([__file__, "-m", "soak", "-s", "-p", "no:xdist"], plugins=[wanted])
    print(json.dumps(wanted.result))
    sys.exit(int(status))


if __name__ == "__main__":
    main()
