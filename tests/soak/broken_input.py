"""Read thousands of broken files of every kind; by hand, minutes.

    python tests/soak/broken_input.py --num-cases 10000 [--seed N] [--case NUMBER]

Ends with a line of JSON: cases, tracebacks, hangs, lost rows. Every failure is told with its seed
and number; `--case` runs that one alone and leaves its files in the folder that is printed.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import resource
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from broken_input import SECONDS, Tally, run_case
from input_samples import model_folders, other_files, row_files

_MEMORY = 12 << 30  # a file that asks for more must be refused, not fill the machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int)
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    tally = Tally()
    folder = Path(tempfile.mkdtemp())
    targets = [*row_files(), *other_files(), *model_folders(folder / "good")]
    for number in range(given.num_cases) if given.case is None else [given.case]:
        # An extension that does not come back to Python cannot be interrupted from it.
        faulthandler.dump_traceback_later(100 * SECONDS, exit=True)
        told = len(tally.failures)
        run_case(targets, folder, seed=given.seed, number=number, tally=tally)
        for failure in tally.failures[told:]:
            print(failure, flush=True)
    faulthandler.cancel_dump_traceback_later()
    if given.case is None:
        shutil.rmtree(folder)
    else:
        print(folder)
    print(dict(sorted(tally.refused.items())))
    print(json.dumps(tally.metrics()))
    sys.exit(bool(tally.failures))


if __name__ == "__main__":
    main()
