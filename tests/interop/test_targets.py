"""The other exports: DPR's classes, ONNX, FAISS."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from command import run
from transformers import (
    AutoTokenizer,
    ConvBertConfig,
    ConvBertModel,
    DPRContextEncoder,
    DPRQuestionEncoder,
)

from art.data.passages import PassageStore
from art.data.records import Passage
from art.data.tokens import TokenStore
from art.errors import ArtError, MismatchError
from art.interop.exporting import export
from art.retriever.embedding import embed_passages
from art.retriever.loading import create_retriever

TEXTS = ["who built the stone bridge ?", "the moon in winter, a garden", "paper music " * 60]
LENGTHS = {"question_length": 16, "passage_length": 24}


@pytest.fixture
def saved(tiny_bert, tmp_path):
    """Save a retriever with these settings; return it and its folder."""

    def save(**settings):
        retriever = create_retriever(str(tiny_bert), **LENGTHS, **({"tied": False} | settings))
        with torch.no_grad():
            for parameter in retriever.question_tower.parameters():
                parameter += 0.1 * torch.randn(
                    parameter.shape, generator=torch.Generator().manual_seed(3)
                )
        retriever.save(tmp_path / "art")
        return retriever, tmp_path / "art"

    return save


def expected(retriever):
    ids = retriever.passage_template([""] * len(TEXTS), TEXTS)
    return retriever.embed_questions(TEXTS), retriever.embed_tokens("passage", ids)


@pytest.mark.parametrize("settings", [{}, {"projection_size": 8}, {"tied": True}])
def test_dprs_classes_give_the_same_vectors(settings, saved, tmp_path) -> None:
    retriever, folder = saved(**settings)
    export(str(folder), "hf-dpr", tmp_path / "out")
    halves = (DPRQuestionEncoder, "question_encoder"), (DPRContextEncoder, "ctx_encoder")
    for (kind, name), vectors in zip(halves, expected(retriever), strict=True):
        where = tmp_path / "out" / name
        tokenizer = AutoTokenizer.from_pretrained(where)
        assert (where / "vocab.txt").read_text().split("\n")[:2] == ["[PAD]", "[UNK]"]
        model, report = kind.from_pretrained(where, output_loading_info=True)
        assert not report["missing_keys"]
        batch = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            found = model.eval()(**batch).pooler_output.numpy()
        np.testing.assert_allclose(found, vectors, atol=1e-5)


def test_dprs_halves_become_a_retriever_again(saved, tmp_path) -> None:
    retriever, folder = saved()
    export(str(folder), "hf-dpr", tmp_path / "out")
    halves = (str(tmp_path / "out" / name) for name in ("question_encoder", "ctx_encoder"))
    again = create_retriever(next(halves), passage_model=next(halves), **LENGTHS)
    for found, vectors in zip(expected(again), expected(retriever), strict=True):
        np.testing.assert_allclose(found, vectors, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"pooling": "mean"}, "takes mean pooling"), ({"normalize": True}, "scales its vectors")],
)
def test_what_dprs_classes_do_not_compute_is_refused(settings, reason, saved, tmp_path) -> None:
    _, folder = saved(**settings)
    with pytest.raises(ArtError, match=reason):
        export(str(folder), "hf-dpr", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_encoder_is_none_of_dprs(tiny_llama, tmp_path) -> None:
    with pytest.raises(ArtError, match="is a llama"):
        export(str(tiny_llama), "hf-dpr", tmp_path / "out")


def test_a_prefix_that_dpr_does_not_add_is_said(saved, tmp_path, capsys) -> None:
    _, folder = saved(question_prefix="query: ")
    export(str(folder), "hf-dpr", tmp_path / "out")
    assert "put 'query: ' before every question" in capsys.readouterr().err
    assert "put 'query: ' before every question" in (tmp_path / "out" / "README.md").read_text()


def test_onnx_without_its_packages_is_one_line(saved, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("art.interop.exports.onnx_graph._PACKAGES", ("no_such_package",))
    _, folder = saved()
    with pytest.raises(ArtError, match=r"without no_such_package .*art-retriever\[onnx\]"):
        export(str(folder), "onnx", tmp_path / "out")


@pytest.mark.parametrize("largest", [0, 1 << 30], ids=["weights beside it", "one file"])
@pytest.mark.parametrize(
    "settings",
    [
        {"pooling": "mean", "normalize": True, "projection_size": 8},
        {"pooling": "last", "tied": True},
    ],
    ids=["mean", "last"],
)
def test_onnxruntime_gives_the_same_vectors(
    settings, largest, saved, tmp_path, monkeypatch
) -> None:
    import onnxruntime
    from tokenizers import Tokenizer

    monkeypatch.setattr("art.interop.exports.onnx_graph._LARGEST_GRAPH", largest)
    retriever, folder = saved(**settings)
    export(str(folder), "onnx", tmp_path / "out")
    found = []
    for name in ("query", "document"):
        where = tmp_path / "out" / name
        where = where if where.is_dir() else tmp_path / "out"
        tokenizer = Tokenizer.from_file(str(where / "tokenizer.json"))
        tokenizer.enable_padding(pad_id=retriever.pad_id)
        session = onnxruntime.InferenceSession(where / "model.onnx")
        assert [one.name for one in session.get_outputs()] == ["embedding"]
        rows = tokenizer.encode_batch(TEXTS)
        feed = {
            "input_ids": np.array([row.ids for row in rows]),
            "attention_mask": np.array([row.attention_mask for row in rows]),
        }
        found += session.run(None, feed)
    if retriever.settings.tied:  # one length, that of passages
        np.testing.assert_allclose(found[1], expected(retriever)[1], atol=1e-5)
    else:
        for one, vectors in zip(found, expected(retriever), strict=True):
            np.testing.assert_allclose(one, vectors, atol=1e-5)


@pytest.fixture
def index(saved, corpus, tmp_path):
    """Embed the corpus; return the retriever's folder, the index and its folder."""

    def embed(ids=None, dtype="float32"):
        retriever, folder = saved()
        passages = [Passage(ids[i] if ids else one[0], *one[1:]) for i, one in enumerate(corpus)]
        store = PassageStore.build(passages, tmp_path / "store", source="test", progress=False)
        tokens = TokenStore.open_or_build(store, retriever.passage_template, progress=False)
        made = embed_passages(
            retriever,
            tokens,
            tmp_path / "index",
            store=store,
            shard_rows=25,
            dtype=dtype,
            progress=False,
        )
        return folder, made, tmp_path / "index"

    return embed


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_faiss_reads_the_index_and_its_ids(dtype, index, corpus, tmp_path) -> None:
    import faiss

    folder, made, where = index(dtype=dtype)
    output = tmp_path / "out"
    words = ["--retriever", folder, "--to", "faiss", "--index", where, "--output", output]
    assert run("export", *words) == 0
    found = faiss.read_index(str(output / "index"))
    assert type(found) is faiss.IndexFlatIP
    assert found.metric_type == faiss.METRIC_INNER_PRODUCT
    vectors = made.vectors(np.arange(len(corpus)))
    np.testing.assert_array_equal(found.reconstruct_n(0, found.ntotal), vectors)
    assert (output / "docid").read_text() == "".join(f"{name}\n" for name, _, _ in corpus)
    scores, rows = found.search(vectors[:4], 3)
    np.testing.assert_allclose(scores, made.search(vectors[:4], 3)[0], rtol=1e-5)
    assert rows.shape == (4, 3)
    reference = faiss.IndexFlatIP(vectors.shape[1])
    reference.add(vectors)
    assert (output / "index").read_bytes() == faiss.serialize_index(reference).tobytes()
    card = (output / "README.md").read_text()
    assert made.store_fingerprint in card
    assert made.retriever_fingerprint in card


def test_an_id_that_is_no_line_is_refused(index, corpus, tmp_path) -> None:
    folder, _, where = index(ids=[f"a\nb{i}" for i in range(len(corpus))])
    with pytest.raises(ArtError, match="cannot stand on a line"):
        export(str(folder), "faiss", tmp_path / "out", index=where)
    assert not (tmp_path / "out").exists()


def test_the_index_of_another_retriever_is_refused(index, tiny_bert, tmp_path) -> None:
    _, _, where = index()
    create_retriever(str(tiny_bert), pooling="mean", **LENGTHS).save(tmp_path / "other")
    with pytest.raises(MismatchError, match="made by retriever"):
        export(str(tmp_path / "other"), "faiss", tmp_path / "out", index=where)


def test_an_encoder_that_padding_changes_is_exported_with_that_word(
    tiny_bert, tmp_path, capsys
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    sizes = {"hidden_size": 32, "embedding_size": 32, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4, "intermediate_size": 64, "vocab_size": len(tokenizer)}
    model = ConvBertModel(ConvBertConfig(**sizes))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    model.save_pretrained(tmp_path / "start")
    tokenizer.save_pretrained(tmp_path / "start")
    create_retriever(str(tmp_path / "start"), **LENGTHS).save(tmp_path / "art")
    export(str(tmp_path / "art"), "sentence-transformers", tmp_path / "out")
    word = "padding changes the vectors of convbert"
    assert f"note: {word}: art encodes texts one length at a time" in capsys.readouterr().err
    assert word in (tmp_path / "out" / "README.md").read_text()
