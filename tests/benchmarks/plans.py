"""The plans of all published settings on eight A100, as the page `configs/plans.md`.

PYTHONPATH=. python tests/benchmarks/plans.py > configs/plans.md
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # a plan downloads nothing

from art.config import Config
from art.evaluation.benchmarks.registry import DATA_SETS
from art.planning.forecast import forecast_beside
from art.planning.inventory import WhatIf
from art.planning.rates import REFERENCE
from art.training.settings import read_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NUM_GPUS = 8
# Yours to write, so that no data set holds them: as many as Natural Questions has for training, and
# what is found for those that DPR took of them.
WRITTEN = {"nq-full/questions.txt": 307_373, "nq/nq-train.found.json": 79_168}

PAGE = """# Plans of the published settings

[Back to the settings](README.md#published-settings)

What each run would take on {gpus} {machine}, computed from assumed rates: nothing was measured.
`art train --config FILE --dry-run --passages N --questions N --gpus {gpus}` says what goes into it.
Memory is of each process, disk of the whole run. Texts have the lengths that are assumed where they
are not here, and 500 questions choose the checkpoint. Hours are from the least to the most that
scoring can take: a pair is scored once, whichever epoch finds it again.

| settings | held against | questions | steps | hours | memory, GB | disk, GB |
|---|---|---|---|---|---|---|
{rows}

This page is made by

```bash
PYTHONPATH=. python tests/benchmarks/plans.py > configs/plans.md
```
"""


def known_rows() -> dict[str, int | None]:
    """Questions or passages of every file that data sets hold, by its path."""
    files = [file for one in DATA_SETS for file in one.files]
    held = {f"{file.unpacked}/{name}": rows for file in files for name, rows in file.holds}
    return {file.path: file.rows for file in files} | held | WRITTEN


def counted(paths: list[str], rows: dict[str, int | None]) -> int:
    """How many rows files below `data/` have together."""
    found = [rows[path.removeprefix("data/")] for path in paths]
    assert None not in found, f"nobody has stated the rows of {paths}"
    return sum(found)


def plan(path: Path, config: Config, rows: dict[str, int | None]) -> list[str]:
    """The cells of a run's line."""
    num_questions = counted(config.data.questions or config.data.supervised, rows)
    num_passages = counted([config.data.passages], rows) if config.data.passages else None
    asked = WhatIf(num_passages=num_passages, num_questions=num_questions, num_gpus=NUM_GPUS)
    found = forecast_beside(config, asked, world_size=NUM_GPUS)
    assert found.seconds is not None
    low, high = (sum(each[i] for each in found.seconds.values()) / 3600 for i in (0, 1))
    hours = f"{low:.1f}" if f"{low:.1f}" == f"{high:.1f}" else f"{low:.1f} to {high:.1f}"
    name = path.relative_to(CONFIGS)
    return [
        f"[`{name}`]({name})",
        held_against(path),
        f"{num_questions:,}",
        f"{found.schedule.num_steps:,}",
        hours,
        f"{sum(found.memory.needed.values()) / 1e9:.1f}",
        f"{sum(found.disk.needed.values()) / 1e9:,.0f}",
    ]


def held_against(path: Path) -> str:
    """What a file says that it is held against, without the sources."""
    (told,) = re.findall(r"^# Held against: (.*\n(?:#   .*\n)*)", path.read_text(), re.MULTILINE)
    return re.sub(r" *\([^()]*\)", "", " ".join(told.replace("#", "").split()))


def main() -> None:
    files = [one for one in sorted(CONFIGS.glob("*/*.yaml")) if one.parent.name != "base"]
    configs = {path: read_config(path) for path in files}
    rows = known_rows()
    with tempfile.TemporaryDirectory() as elsewhere:
        os.chdir(elsewhere)  # where no data are that a plan would read
        lines = [" | ".join(plan(path, config, rows)) for path, config in configs.items()]
    table = "\n".join(f"| {line} |" for line in lines)
    print(PAGE.format(gpus=NUM_GPUS, machine=REFERENCE.name, rows=table), end="")


if __name__ == "__main__":
    main()
