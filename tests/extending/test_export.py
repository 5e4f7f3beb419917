"""A target of `art export` is one file: a target of our own, added here, is written and listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from command import run

from art.errors import ArtError
from art.interop.exports import EXPORTS, Export, Exported
from art.retriever.loading import create_retriever


class ToyTable(Export):
    """The first numbers of the table of tokens, as JSON."""

    name: ClassVar[str] = "toy-table"
    description: ClassVar[str] = "a toy: the first numbers of the table of tokens"

    def check(self, source: Exported) -> None:
        """Refuse two towers."""
        if not source.tied:
            raise ArtError("a toy table has room for one tower", hint="tie them")

    def write(self, source: Exported, folder: Path) -> None:
        """Write the numbers."""
        table = source.passage.backbone.get_input_embeddings().weight
        (folder / "table.json").write_text(json.dumps(table[:2, :3].tolist()))

    def usage(self, source: Exported) -> str:
        """Return how it is used."""
        return "Look at `table.json`."


@pytest.fixture(autouse=True)
def _toy_target() -> Iterator[None]:
    EXPORTS.add(ToyTable())
    yield
    EXPORTS.remove(ToyTable.name)


@pytest.mark.parametrize("tied", [True, False])
def test_a_target_of_our_own_is_written_or_refuses(tied, tiny_bert, tmp_path, capsys) -> None:
    create_retriever(str(tiny_bert), tied=tied, passage_length=64).save(tmp_path / "art")
    output = tmp_path / "out"
    words = ["--retriever", tmp_path / "art", "--to", "toy-table", "--output", output]
    assert run("export", *words) == (0 if tied else 1)
    assert output.exists() is tied
    if tied:
        assert "Look at `table.json`." in (output / "README.md").read_text()
    else:
        assert "room for one tower (tie them)" in capsys.readouterr().err


def test_a_target_of_our_own_is_listed(capsys) -> None:
    assert run("export", "--help") == 0
    assert "toy-table" in capsys.readouterr().out
