"""What the registry of file formats holds, and what it costs to load."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from art.data import formats
from art.data.formats import FORMATS, Format, read_passages, read_questions, read_supervised
from art.errors import DataError

KINDS = sorted({type(one) for one in FORMATS}, key=lambda kind: kind.__name__)


def test_every_module_of_the_folder_that_names_a_kind_of_file_is_a_format() -> None:
    kinds = ("passages_", "questions_", "supervised_", "judgements_", "results_")
    modules = {path.stem for path in Path(formats.__file__).parent.glob("*.py")}
    named = {name.replace("_", "-") for name in modules if name.startswith(kinds)}
    assert named == set(FORMATS.names)
    assert modules - {name.replace("-", "_") for name in named} == {"__init__", "base", "reading"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_one_format_at_most_takes_what_the_others_of_its_ending_leave(kind: type[Format]) -> None:
    of_kind = [one for one in FORMATS if isinstance(one, kind)]
    remaining = Counter(ending for one in of_kind if not one.fits for ending in one.endings or ())
    assert all(count == 1 for count in remaining.values())
    assert sum(one.endings is None for one in of_kind) <= 1


def test_the_table_of_formats_names_every_ending() -> None:
    table = (Path(formats.__file__).parents[1] / "README.md").read_text()
    section = table.partition("## Formats\n")[2].partition("\n## ")[0]
    endings = {ending for one in FORMATS for ending in one.endings or ()}
    assert [ending for ending in sorted(endings) if f"`{ending}`" not in section] == []


@pytest.mark.parametrize("read", [read_passages, read_questions, read_supervised])
def test_another_ending_is_refused_with_every_format_of_the_kind(read, tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.touch()
    with pytest.raises(DataError, match="that is known") as caught:
        read(path)
    word = read.__name__.removeprefix("read_")
    described = [one.description for one in FORMATS if one.name.startswith(word)]
    assert described and all(one in str(caught.value.hint) for one in described)


def test_reading_questions_loads_neither_torch_nor_datasets(tmp_path: Path) -> None:
    path = tmp_path / "q.txt"
    path.write_text("who?\n")
    program = (
        "import sys; from art.data.formats import read_questions\n"
        f"assert read_questions({str(path)!r})[0].text == 'who?'\n"
        "assert not {'torch', 'datasets', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
