"""What `art export` writes for sentence-transformers, `create_retriever` reads as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from art.interop.exporting import export
from art.retriever.loading import create_retriever
from art.retriever.projection import stacked

TITLES = ["", "a title", "another title"]
TEXTS = ["who built the bridge?", "the river", "north of the stone garden " * 30]


def layers() -> nn.Sequential:
    """Return two layers with an activation behind each, as a Dense module may have."""
    generator = torch.Generator().manual_seed(3)
    found = [nn.Linear(32, 24), nn.Linear(24, 8, bias=False)]
    for layer in found:
        nn.init.normal_(layer.weight, generator=generator)
    projection = stacked(found, ["tanh", "gelu"])
    assert isinstance(projection, nn.Sequential)
    return projection


def assert_same_vectors(again, retriever) -> None:
    passages = [one.passage_template(TITLES, TEXTS) for one in (again, retriever)]
    assert passages[0] == passages[1]
    found, expected = (
        one.embed_tokens("passage", ids)
        for one, ids in zip((again, retriever), passages, strict=True)
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)
    found, expected = (one.embed_questions(TEXTS) for one in (again, retriever))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"pooling": "mean", "normalize": True, "passage_prefix": "passage: "},
        {"pooling": "cls", "projection_size": 8, "question_prefix": "query: "},
        {"pooling": "last", "tied": False},
        {"pooling": "mean", "tied": False, "normalize": True, "question_prefix": "query: "},
    ],
    ids=["mean", "projected", "two towers, last", "two towers, mean"],
)
def test_an_exported_folder_is_read_as_the_same_retriever(settings, tiny_bert, tmp_path) -> None:
    retriever = create_retriever(
        str(tiny_bert), question_length=24, passage_length=24, title_join="space", **settings
    )
    if not retriever.settings.tied:
        with torch.no_grad():
            retriever.question_tower.backbone.embeddings.word_embeddings.weight.mul_(1.1)
    retriever.save(tmp_path / "art")
    export(str(tmp_path / "art"), "sentence-transformers", tmp_path / "out")
    again = create_retriever(str(tmp_path / "out"))
    assert again.settings.tied == retriever.settings.tied
    assert_same_vectors(again, retriever)


def test_layers_with_activations_stand_one_after_another(tiny_bert, tmp_path) -> None:
    lengths = {"question_length": 24, "passage_length": 24}
    retriever = create_retriever(str(tiny_bert), title_join="space", **lengths)
    retriever.passage_tower.projection = layers()
    retriever.settings = replace(
        retriever.settings, projection_size=8, projection_activations=("tanh", "gelu")
    )
    retriever.save(tmp_path / "art")
    export(str(tmp_path / "art"), "sentence-transformers", tmp_path / "out")
    again = create_retriever(str(tmp_path / "out"))
    assert again.settings.projection_activations == ("tanh", "gelu")
    assert_same_vectors(again, retriever)


def test_a_table_of_word_vectors_is_read_back_with_its_length(tmp_path) -> None:
    lengths = {"question_length": 24, "passage_length": 24}
    retriever = create_retriever("pip:wordllama", normalize=True, title_join="space", **lengths)
    retriever.save(tmp_path / "art")
    export(str(tmp_path / "art"), "sentence-transformers", tmp_path / "out")
    again = create_retriever(str(tmp_path / "out"))
    assert again.settings.normalize
    assert (again.settings.question_length, again.settings.passage_length) == (24, 24)
    assert_same_vectors(again, retriever)
