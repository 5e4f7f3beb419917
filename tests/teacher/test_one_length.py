"""Teachers whose scores padding would change: found out, and scored one length at a time."""

import numpy as np
import pytest
import torch
import transformers
from tiny_teachers import all_pairs
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from art.teacher.registry import load_teacher

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
}
RERANKERS = {
    "FNetForSequenceClassification": (SIZES, True),
    "ConvBertForSequenceClassification": ({**SIZES, "embedding_size": 32}, True),
    # It reads the last position, which in a padded batch is padding.
    "XLNetForSequenceClassification": (
        {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
        True,
    ),
    "ElectraForSequenceClassification": ({**SIZES, "embedding_size": 16}, False),
}
LANGUAGE_MODELS = {
    # It has no mask, and texts are padded in front.
    "RwkvForCausalLM": ({"hidden_size": 32, "num_hidden_layers": 2}, True),
    "MambaForCausalLM": ({"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}, False),
}


def save(kind, fields, source, folder):
    tokenizer = AutoTokenizer.from_pretrained(source)
    torch.manual_seed(0)
    model_class = getattr(transformers, kind)
    labels = {"num_labels": 1} if "Classification" in kind else {}
    model = model_class(
        model_class.config_class(vocab_size=len(tokenizer), pad_token_id=0, **fields, **labels)
    )
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def check(teacher, flawed, said):
    assert teacher.one_length == flawed
    assert said.count("one length at a time") == flawed
    pairs = all_pairs(teacher)
    alone = np.concatenate([teacher.score_pairs([pair]) for pair in pairs])
    np.testing.assert_allclose(teacher.score_pairs(pairs), alone, atol=1e-5)
    teacher.one_length = False
    padded = teacher.score_pairs(pairs)
    assert (np.abs(padded - alone).max() > 1e-4) == flawed
    return pairs, alone


@pytest.mark.parametrize("kind", RERANKERS)
def test_a_rerankers_scores_are_those_of_pairs_alone(kind, tiny_bert, tmp_path, capsys):
    fields, flawed = RERANKERS[kind]
    folder = save(kind, fields, tiny_bert, tmp_path / "model")
    settings = {"kind": "cross-encoder", "dtype": "float32", "max_length": 60}
    teacher = load_teacher(model=str(folder), **settings)
    pairs, alone = check(teacher, flawed, capsys.readouterr().err)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    for pair, score in list(zip(pairs, alone, strict=True))[:5]:
        ids = torch.tensor(np.concatenate(pair), dtype=torch.int64)[None]
        with torch.no_grad():
            assert abs(model(input_ids=ids).logits.item() - score) < 1e-5


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_a_language_models_likelihoods_are_those_of_pairs_alone(kind, tiny_llama, tmp_path, capsys):
    fields, flawed = LANGUAGE_MODELS[kind]
    folder = save(kind, fields, tiny_llama, tmp_path / "model")
    settings = {"kind": "question-likelihood", "dtype": "float32", "max_length": 90}
    teacher = load_teacher(model=str(folder), **settings)
    fingerprint = teacher.fingerprint
    check(teacher, flawed, capsys.readouterr().err)
    assert load_teacher(model=str(folder), **settings).fingerprint == fingerprint
