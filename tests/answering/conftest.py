"""A tiny reader with random weights, as transformers saves one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_reader(tiny_bert, tmp_path_factory) -> Path:
    import torch
    from transformers import BertConfig, DPRConfig, DPRReader

    folder = tmp_path_factory.mktemp("tiny-reader")
    shutil.copytree(tiny_bert, folder, dirs_exist_ok=True)
    shape = BertConfig.from_pretrained(tiny_bert).to_dict()
    shape.pop("model_type")
    torch.manual_seed(3)
    model = DPRReader(DPRConfig(**shape))
    for parameter in model.parameters():  # as they start, no logit would tell tokens apart
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return folder
