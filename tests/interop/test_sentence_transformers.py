"""The sentence-transformers export: its files, and its vectors as modules.json says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from tokenizers import Tokenizer
from transformers import AutoModel, AutoTokenizer

from art.errors import ArtError
from art.interop.exporting import export
from art.retriever.loading import create_retriever

BOOLEANS = {
    "pooling_mode_cls_token",
    "pooling_mode_mean_tokens",
    "pooling_mode_max_tokens",
    "pooling_mode_mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens",
    "pooling_mode_lasttoken",
}
TEXTS = ["who built the stone bridge ?", "the moon in winter, a garden", "paper music " * 60, ""]
LENGTHS = {"question_length": 16, "passage_length": 24}


def read(path: Path):
    return json.loads(path.read_text())


def written(retriever, folder: Path) -> Path:
    """Export a retriever; return the new folder."""
    retriever.save(folder / "art")
    export(str(folder / "art"), "sentence-transformers", folder / "out")
    return folder / "out"


def encode(root: Path, paths: list[tuple[str, str]], texts: list[str]) -> np.ndarray:
    """Encode as the modules at these (path, class) say, one text at a time; [n, D]."""
    return np.stack([_encode_one(root, paths, text) for text in texts])


def _encode_one(root: Path, paths: list[tuple[str, str]], text: str) -> np.ndarray:
    vector = states = None
    for path, kind in paths:
        where = root / path
        if kind == "Transformer":
            length = read(where / "sentence_bert_config.json")["max_seq_length"]
            tokenizer = AutoTokenizer.from_pretrained(where)
            batch = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
            with torch.no_grad():
                model = AutoModel.from_pretrained(where).eval()
                states = model(**batch).last_hidden_state[0].numpy()
        elif kind == "StaticEmbedding":
            tokenizer = Tokenizer.from_file(str(where / "tokenizer.json"))
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            table = load_file(where / "model.safetensors")["embedding.weight"]
            vector = table[ids].mean(axis=0) if ids else np.zeros(table.shape[1], np.float32)
        elif kind == "Pooling":
            config = read(where / "config.json")
            assert config.keys() == BOOLEANS | {"word_embedding_dimension", "include_prompt"}
            (chosen,) = (name for name in BOOLEANS if config[name])
            vector = {
                "pooling_mode_cls_token": states[0],
                "pooling_mode_mean_tokens": states.mean(axis=0),
                "pooling_mode_lasttoken": states[-1],
            }[chosen]
        elif kind == "Dense":
            config, tensors = read(where / "config.json"), load_file(where / "model.safetensors")
            assert config["activation_function"] == "torch.nn.modules.linear.Identity"
            assert config["bias"] == ("linear.bias" in tensors)
            vector = tensors["linear.weight"] @ vector + tensors.get("linear.bias", 0)
        else:
            assert kind == "Normalize"
            vector = vector / max(np.linalg.norm(vector), 1e-12)
    return vector


def modules(folder: Path) -> list[tuple[str, str]]:
    """Return (path, class) of the modules of a folder."""
    rows = read(folder / "modules.json")
    assert [row["idx"] for row in rows] == list(range(len(rows)))
    assert all(row["type"].startswith("sentence_transformers.models.") for row in rows)
    return [(row["path"], row["type"].rpartition(".")[2]) for row in rows]


def ours(retriever, side: str, texts: list[str]) -> np.ndarray:
    if side == "question":
        return retriever.embed_questions(texts)
    ids = retriever.passage_template([""] * len(texts), texts)
    return retriever.embed_tokens("passage", ids)


def apart(retriever):
    """Return a retriever whose two towers differ."""
    with torch.no_grad():
        for parameter in retriever.passage_tower.parameters():
            parameter += 0.1 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(3)
            )
    return retriever


def test_one_tower_is_one_folder(tiny_bert, tmp_path, capsys) -> None:
    retriever = create_retriever(
        str(tiny_bert), tied=True, pooling="mean", normalize=True, projection_size=8, **LENGTHS
    )
    out = written(retriever, tmp_path)
    kinds = ["Transformer", "Pooling", "Dense", "Normalize"]
    paths = ["", "1_Pooling", "2_Dense", "3_Normalize"]
    assert modules(out) == list(zip(paths, kinds, strict=True))
    there = {path.name for path in out.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= there
    lengths = {"max_seq_length": 24, "do_lower_case": False}
    assert read(out / "sentence_bert_config.json") == lengths
    assert read(out / "config_sentence_transformers.json") == {
        "prompts": {"query": "", "document": ""},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
    }
    assert "there a question too is cut at 24 tokens, here at 16" in capsys.readouterr().err
    found = encode(out, modules(out), TEXTS)
    np.testing.assert_allclose(found, ours(retriever, "passage", TEXTS), atol=1e-5)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pooling": "mean", "projection_size": 8, "question_prefix": "query: "},
        {"pooling": "last", "normalize": True, "passage_prefix": "passage: "},
    ],
    ids=["cls", "mean, projected", "last"],
)
def test_two_towers_are_a_folder_each_under_a_router(settings, tiny_bert, tmp_path) -> None:
    retriever = apart(create_retriever(str(tiny_bert), tied=False, **settings, **LENGTHS))
    out = written(retriever, tmp_path)
    assert modules(out) == [("", "Router")]
    router = read(out / "router_config.json")
    assert router["parameters"] == {"default_route": None, "allow_empty_key": False}
    model = read(out / "config_sentence_transformers.json")
    assert model["default_prompt_name"] is None
    assert model["similarity_fn_name"] == ("cosine" if settings.get("normalize") else "dot")
    for route, side in (("query", "question"), ("document", "passage")):
        expected = ours(retriever, side, TEXTS)
        prefix = settings.get(f"{side}_prefix", "")
        texts = [model["prompts"][route] + text for text in TEXTS]
        paths = [
            (path, router["types"][path].rpartition(".")[2]) for path in router["structure"][route]
        ]
        np.testing.assert_allclose(encode(out, paths, texts), expected, atol=1e-5)
        alone = read(out / route / "config_sentence_transformers.json")
        assert alone["default_prompt_name"] == (route if prefix else None)
        found = encode(out / route, modules(out / route), texts)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_title_is_part_of_the_one_string(tiny_bert, tmp_path) -> None:
    retriever = create_retriever(str(tiny_bert), tied=True, **LENGTHS)
    out = written(retriever, tmp_path)
    assert 'title, "[SEP]", text' in (out / "README.md").read_text()
    ids = retriever.passage_template(["title moon"], ["the river"])
    expected = retriever.embed_tokens("passage", ids)
    found = encode(out, modules(out), ["title moon[SEP]the river"])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_decoder_gets_the_end_of_sequence_from_its_tokenizer(tiny_llama, tmp_path) -> None:
    retriever = create_retriever(str(tiny_llama), tied=True, **LENGTHS)
    assert retriever.settings.pooling == "last"
    out = written(retriever, tmp_path)
    texts = TEXTS[:3]
    found = encode(out, modules(out), texts)
    np.testing.assert_allclose(found, ours(retriever, "passage", texts), atol=1e-5)


def test_an_encoder_of_t5_is_loaded_alone(tiny_t5, tmp_path) -> None:
    retriever = create_retriever(str(tiny_t5), tied=True, **LENGTHS)
    out = written(retriever, tmp_path)
    assert read(out / "config.json")["model_type"] == "t5"


def test_a_table_of_word_vectors_is_a_static_embedding(tmp_path) -> None:
    retriever = create_retriever("pip:wordllama", tied=True, normalize=True, **LENGTHS)
    out = written(retriever, tmp_path)
    assert [kind for _, kind in modules(out)] == ["StaticEmbedding", "Normalize"]
    assert set(load_file(out / "model.safetensors")) == {"embedding.weight"}
    found = encode(out, modules(out), TEXTS)
    np.testing.assert_allclose(found, ours(retriever, "passage", TEXTS), atol=1e-5)


def test_a_table_pooled_by_position_is_refused(tmp_path) -> None:
    retriever = create_retriever("pip:wordllama", tied=True, pooling="last", **LENGTHS)
    with pytest.raises(ArtError, match="pooling last has no equal"):
        written(retriever, tmp_path)
    assert not (tmp_path / "out").exists()


def test_reduced_precision_is_said(tiny_bert, tmp_path, capsys) -> None:
    written(create_retriever(str(tiny_bert), tied=True, dtype="bfloat16", **LENGTHS), tmp_path)
    assert "art computes this retriever in bfloat16" in capsys.readouterr().err


def test_the_library_itself_gives_the_same_vectors(tiny_bert, tmp_path) -> None:
    import sentence_transformers  # here: it takes seconds

    retriever = apart(create_retriever(str(tiny_bert), tied=False, normalize=True, **LENGTHS))
    out = written(retriever, tmp_path)
    model = sentence_transformers.SentenceTransformer(str(out), device="cpu")
    found = model.encode_query(TEXTS), model.encode_document(TEXTS)
    for side, vectors in zip(("question", "passage"), found, strict=True):
        np.testing.assert_allclose(vectors, ours(retriever, side, TEXTS), atol=1e-5)
    with pytest.raises(ValueError, match="route"):
        model.encode(TEXTS)
