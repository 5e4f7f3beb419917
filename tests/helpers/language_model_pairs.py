"""Pairs to score, models to score them, and what Hugging Face says of each pair."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from art.data.pairs import Pair
from art.teacher.kinds.question_likelihood import QuestionLikelihood

PASSAGES = [
    ("moon", "the winter garden was built in north valley"),
    ("", "a"),
    ("stone bridge", "the engine letter music paper " * 12),
    ("orange", "doctor silver orange mountain ocean temple"),
    ("", "who built the hammer ? " * 30),
]
QUESTIONS = [
    "who built the winter garden ?",
    "what",
    "where is the stone bridge in the north valley and how was it found ?",
    "why does the doctor keeps the silver mirror",
    "how many letter engine",
]


def pairs(teacher: QuestionLikelihood) -> tuple[list[list[int]], list[list[int]]]:
    titles, texts = (list(column) for column in zip(*PASSAGES, strict=True))
    passages = teacher.template.passages(titles, texts)
    contexts = [teacher.template.context(ids) for ids in passages for _ in QUESTIONS]
    return contexts, [teacher.template.target(text) for _ in PASSAGES for text in QUESTIONS]


def by_hugging_face(
    folder: Path, contexts: list[list[int]], targets: list[list[int]]
) -> np.ndarray:
    """Minus the loss that transformers computes for one pair at a time."""
    causal = not json.loads((folder / "config.json").read_text()).get("is_encoder_decoder")
    kind = AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    scores = []
    for context, target in zip(contexts, targets, strict=True):
        ids = torch.tensor([context + target if causal else context])
        labels = torch.tensor([[-100] * len(context) + target if causal else target])
        with torch.no_grad():
            scores.append(-model(input_ids=ids, labels=labels).loss.item())
    return np.array(scores, dtype=np.float32)


def sharpen(model: torch.nn.Module) -> None:
    """Larger weights, so that likelihoods differ between passages as a trained model's do."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3.0)


def one_pair_at_a_time(teacher: QuestionLikelihood) -> QuestionLikelihood:
    """Let a teacher's scores not depend, even in the last bit, on what it is asked with them."""
    ask = teacher.score_pairs

    def one_by_one(pairs: list[Pair]) -> np.ndarray:
        return np.array([ask([pair])[0] for pair in pairs], dtype=np.float32)

    teacher.score_pairs = one_by_one
    return teacher


def with_tokenizer_of(source: Path, folder: Path, model: torch.nn.Module) -> Path:
    shutil.copytree(source, folder)
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    model.save_pretrained(folder)
    return folder
