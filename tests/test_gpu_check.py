"""The check for a GPU machine, at sizes at which a CPU can keep it from rotting."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch


@pytest.mark.parametrize("part", ["search", "embed", "teacher", "nccl"])
def test_every_part_passes_at_its_tiny_sizes(part, monkeypatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "benchmarks"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    import gpu_check

    from art.retriever import search

    monkeypatch.setattr(search, "nearest", search.nearest)  # the check puts another in its place
    gpu_check.PARTS[part][0](gpu_check.Device())
    assert '"figure"' in capsys.readouterr().out
