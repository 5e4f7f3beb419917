"""Tiny teachers of every kind, and what Hugging Face says of each of their pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from language_model_pairs import PASSAGES, QUESTIONS, sharpen, with_tokenizer_of
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from art.data.pairs import Pair
from art.teacher.base import Teacher

ANSWERS = {
    question: f"{question.split()[0]} silver moon {i}" for i, question in enumerate(QUESTIONS)
}


def all_pairs(teacher: Teacher) -> list[Pair]:
    """Every question with every passage, a passage after the other."""
    titles, texts = (list(column) for column in zip(*PASSAGES, strict=True))
    passages = teacher.template(titles, texts)
    return [
        teacher.template.pair(teacher.template.asked(text), ids)
        for ids in passages
        for text in QUESTIONS
    ]


def make_reranker(source: Path, folder: Path, kind: str, num_labels: int) -> Path:
    """A random cross-encoder of some architecture with the tokenizer of `source`."""
    typed = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    tokenizer = AutoTokenizer.from_pretrained(source, **(typed if kind == "bert" else {}))
    common = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "num_labels": num_labels,
    }
    torch.manual_seed(3)
    if kind == "bert":
        model = BertForSequenceClassification(BertConfig(**common, max_position_embeddings=128))
    elif kind == "roberta":  # its positions follow the padding token's id
        config = RobertaConfig(**common, max_position_embeddings=130, pad_token_id=1)
        model = RobertaForSequenceClassification(config)
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(1)
    else:
        model = LlamaForSequenceClassification(LlamaConfig(**common))
        tokenizer.pad_token = tokenizer.eos_token
    for _ in range(2 if kind == "roberta" else 1):  # its head is the flattest
        sharpen(model)
    with_tokenizer_of(source, folder, model)
    tokenizer.save_pretrained(folder)
    return folder


def cross_encoded(folder: Path, max_length: int) -> np.ndarray:
    """What transformers says of every pair, one at a time, from the texts alone."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    scores = []
    for title, text in PASSAGES:
        for question in QUESTIONS:
            inputs = tokenizer(
                question,
                f"{title} {text}".strip(),
                truncation="only_second",
                max_length=max_length,
                return_tensors="pt",
            )
            if "Llama" in type(model).__name__:
                inputs.pop("token_type_ids", None)
            with torch.no_grad():
                logits = model(**inputs).logits[0].tolist()
            scores.append(logits[0] if len(logits) == 1 else logits[1] - logits[0])
    return np.array(scores, dtype=np.float32)


def answers_by_hugging_face(folder: Path) -> np.ndarray:
    """Minus the loss that transformers computes for each answer, the prompt being one text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    causal = "llama" in folder.name
    kind = AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    scores = []
    for title, text in PASSAGES:
        for question in QUESTIONS:
            passage = f"{title} {text}".strip()
            prompt = f"Passage: {passage} . Question: {question} Answer:"
            context = tokenizer(prompt)["input_ids"]
            answer = f" {ANSWERS[question]}" if causal else ANSWERS[question]
            target = tokenizer(answer)["input_ids"]
            ids = context + target if causal else context
            labels = [-100] * len(context) + target if causal else target
            with torch.no_grad():
                loss = model(input_ids=torch.tensor([ids]), labels=torch.tensor([labels])).loss
            scores.append(-loss.item())
    return np.array(scores, dtype=np.float32)
