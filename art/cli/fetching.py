"""`art fetch`: public data sets by name; nothing is fetched that was not asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from art.evaluation.benchmarks.fetching import Fetchable

_UNKNOWN = "unknown"


def fetch(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="wikipedia, nq, beir:scifact and so on, or hf:OWNER/NAME; none: list them.",
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option(help="Folder for them; a killed command goes on there.")
    ] = Path("data"),
) -> None:
    """Fetch public data sets: say what, from where, which licence and size, then go on."""
    from art.evaluation.benchmarks import fetching
    from art.evaluation.benchmarks.registry import DATA_SETS

    if not names:
        for one in DATA_SETS:
            print(f"{one.name}: {one.title}; licence: {one.licence or _UNKNOWN}")
        print("hf:OWNER/NAME: a data set of the Hugging Face hub")
        return
    wanted = fetching.find(list(dict.fromkeys(names)), output)
    _say(wanted, output)
    fetching.fetch(wanted, output)
    print(f"all of it is in {output}")


def _say(wanted: Sequence[Fetchable], output: Path) -> None:
    for one in wanted:
        print(f"{one.name}: {one.title}; licence: {one.licence or _UNKNOWN}")
        for path, (size, address) in one.missing.items():
            print(f"  {output / path}  {_size(size)}  from {address}")
        for path in one.there:
            print(f"  {output / path}  there already")
    sizes = [size for one in wanted for size, _ in one.missing.values()]
    known = [size for size in sizes if size is not None]
    unknown = f" and {len(sizes) - len(known)} of unknown size" if len(known) < len(sizes) else ""
    print(f"to fetch: {len(known)} files, {_size(sum(known))}{unknown}", flush=True)


def _size(size: int | None) -> str:
    if size is None:
        return "size unknown"
    for limit, unit, name in ((10**6, 10**3, "KB"), (10**9, 10**6, "MB")):
        if size < limit:
            return f"{size / unit:.1f} {name}"
    return f"{size / 1e9:.1f} GB"
