"""Word-vector tables as ordinary models: conversion of a packaged table, pooling, training."""

import json
import shutil
from importlib import metadata

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer

from art.errors import ArtError, ConfigError
from art.retriever.loading import create_retriever, load_retriever
from art.retriever.static import StaticEmbeddingModel, convert_packaged_table

WORDS = ["moon", "river", "stone", "bridge"]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with a float16 table and a Llama-like tokenizer; returns the table."""
    pieces = ["<unk>", "<s>", "</s>", "▁", *WORDS, *("▁" + word for word in WORDS)]
    backend = Tokenizer(models.WordLevel({p: i for i, p in enumerate(pieces)}, unk_token="<unk>"))
    backend.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    backend.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 1)]
    )
    folder = tmp_path / "package"
    folder.mkdir()
    backend.save(str(folder / "words_tokenizer_config.json"))
    table = np.random.default_rng(0).standard_normal((len(pieces), 6)).astype(np.float16)
    save_file({"embedding.weight": table}, folder / "words.safetensors")
    monkeypatch.setattr(
        "art.retriever.static.packaged_files", lambda name: sorted(folder.iterdir())
    )
    return table, folder


def test_a_packaged_table_becomes_an_ordinary_folder_once(package, tmp_path):
    table, _ = package
    folder = convert_packaged_table("words", cache=tmp_path)
    written = folder.stat().st_mtime_ns
    assert convert_packaged_table("words", cache=tmp_path) == folder
    assert folder.stat().st_mtime_ns == written
    model = AutoModel.from_pretrained(folder)
    assert isinstance(model, StaticEmbeddingModel)
    assert (model.config.vocab_size, model.config.hidden_size) == table.shape
    np.testing.assert_array_equal(model.embedding.weight.detach(), table.astype(np.float32))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.convert_ids_to_tokens(tokenizer("moon river").input_ids) == [
        "▁moon",
        "▁river",
    ]
    assert len(tokenizer) == len(table) and tokenizer.pad_token_id == 2


def test_a_package_without_one_table_and_one_tokenizer_is_refused(package, tmp_path):
    _, folder = package
    shutil.copy(folder / "words.safetensors", folder / "more.safetensors")
    with pytest.raises(ArtError, match=r"'words' carries 2 safetensors tables and 1 tokenizer"):
        convert_packaged_table("words", cache=tmp_path)


def test_a_tokenizer_larger_than_its_table_is_refused(package, tmp_path):
    table, folder = package
    save_file({"embedding.weight": table[:-1].copy()}, folder / "words.safetensors")
    with pytest.raises(ArtError, match=r"words_tokenizer_config\.json: .*more tokens"):
        convert_packaged_table("words", cache=tmp_path)


def test_a_text_is_the_mean_of_its_words_and_trains_like_any_encoder(package, tmp_path):
    table, _ = package
    retriever = create_retriever(
        str(convert_packaged_table("words", cache=tmp_path)), projection_size=4
    )
    assert retriever.settings.pooling == "mean"
    head = retriever.question_tower.projection.weight.detach().numpy()
    rows = table.astype(np.float32)
    first, second = retriever.embed_questions(["moon river stone", "bridge"])
    np.testing.assert_allclose(first, rows[[8, 9, 10]].mean(0) @ head.T, atol=1e-6)
    np.testing.assert_allclose(second, rows[11] @ head.T, atol=1e-6)

    ids = torch.tensor([[8, 9], [10, 2]])
    mask = torch.tensor([[True, True], [True, False]])
    retriever.train()(ids, mask, None, None)[0].square().sum().backward()
    touched = retriever.question_tower.backbone.embedding.weight.grad.abs().sum(1) > 0
    assert touched.nonzero().flatten().tolist() == [8, 9, 10]  # and not the padding

    before = retriever.fingerprint()
    retriever.save(tmp_path / "saved")
    again = load_retriever(tmp_path / "saved")
    assert again.fingerprint() == before
    assert (
        json.loads((tmp_path / "saved/question_tower/config.json").read_text())["model_type"]
        == "static_embedding"
    )


def test_settings_that_mean_nothing_for_a_table_are_refused(package, tmp_path):
    folder = str(convert_packaged_table("words", cache=tmp_path))
    for options, fault in (
        ({"num_layers": 1}, "no layers"),
        ({"dropout": 0.1}, "no dropout"),
        ({"pooling": "cls"}, "ignores all"),
        ({"activation_checkpointing": True}, "activation_checkpointing is true"),
    ):
        with pytest.raises(ConfigError, match=fault):
            create_retriever(folder, **options)


def test_wordllama_finds_the_passage_that_says_the_same(tmp_path):
    try:
        metadata.distribution("wordllama")
    except metadata.PackageNotFoundError:
        pytest.skip("wordllama is not installed")
    retriever = create_retriever("pip:wordllama", normalize=True, cache=tmp_path)
    questions = retriever.embed_questions(["how do I cook rice?", "who was the first president"])
    tokens = retriever.passage_template(
        ["", ""], ["George Washington led the country first.", "Boil the grains in salted water."]
    )
    scores = questions @ retriever.embed_tokens("passage", tokens).T
    assert scores.argmax(1).tolist() == [1, 0]
