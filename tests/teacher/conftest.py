"""Language models with likelihoods that differ between passages, as a trained model's do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from language_model_pairs import sharpen
from transformers import AutoModelForCausalLM, T5Config, T5ForConditionalGeneration


@pytest.fixture(scope="session")
def t5_untied(tiny_t5: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """T5 v1.1, T0 and FLAN: gated, a head of its own, decoder outputs unscaled."""
    folder = tmp_path_factory.mktemp("t5-untied")
    shutil.copytree(tiny_t5, folder, dirs_exist_ok=True)
    torch.manual_seed(1)
    config = T5Config.from_pretrained(tiny_t5, feed_forward_proj="gated-gelu")
    config.scale_decoder_outputs = False
    model = T5ForConditionalGeneration(config)
    sharpen(model)
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) / 4)
    model.save_pretrained(folder)
    # As the published ones have it.
    document = json.loads((folder / "config.json").read_text()) | {"tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="session")
def t5_tied(tiny_t5: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first T5: one table for embedding and head, decoder outputs scaled."""
    folder = tmp_path_factory.mktemp("t5-tied")
    shutil.copytree(tiny_t5, folder, dirs_exist_ok=True)
    model = T5ForConditionalGeneration.from_pretrained(tiny_t5)
    sharpen(model)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def llama(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    shutil.copytree(tiny_llama, folder, dirs_exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    sharpen(model)
    model.save_pretrained(folder)
    return folder
