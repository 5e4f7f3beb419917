"""Encoders whose vectors padding would change: found out, and encoded one length at a time."""

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModel, AutoTokenizer

from art.data.formats import Passage
from art.data.passages import PassageStore
from art.data.together import padding_changes
from art.data.tokens import TokenStore, pad
from art.errors import ArtError
from art.retriever.embedding import embed_passages
from art.retriever.loading import create_retriever, load_retriever
from art.training.gradient_cache import TowerInputs, grad_cached

LENGTHS = {"question_length": 60, "passage_length": 60}
TEXTS = [
    "moon",
    "who built the stone bridge",
    "paper " * 70,
    "river moon",
    "the river of the stone garden",
    "who built the stone garden",
]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
PADDING_CHANGES = {
    "FNetModel": SIZES,  # reads no mask
    "ConvBertModel": {**SIZES, "embedding_size": 32},
    "YosoModel": SIZES,
    "FunnelModel": {"d_model": 32, "block_sizes": [1, 1], "n_head": 4, "d_head": 8, "d_inner": 64},
    "NystromformerModel": SIZES,
}
PADDING_CHANGES_NOTHING = {
    "ElectraModel": {**SIZES, "embedding_size": 16},
    "DebertaV2Model": {
        **SIZES,
        "relative_attention": True,
        "pos_att_type": ["c2p", "p2c"],
        "conv_kernel_size": 3,
    },
    "XLNetModel": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
    "IBertModel": SIZES,
    "MambaModel": {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "Lfm2Model": {**SIZES, "num_key_value_heads": 2, "layer_types": ["conv", "full_attention"]},
    "Gemma3TextModel": {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "sliding_window": 8},
}


@pytest.fixture(scope="module")
def make_folder(tiny_bert, tmp_path_factory):
    """Save a random model, its weights large enough to tell its texts apart."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)

    def make(kind, **fields):
        torch.manual_seed(0)
        model_class = getattr(transformers, kind)
        config = model_class.config_class(vocab_size=len(tokenizer), pad_token_id=0, **fields)
        model = model_class(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.mul_(5)
        folder = tmp_path_factory.mktemp(kind)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


def one_by_one(folder, sequences, pooling="mean"):
    """Return transformers' own vectors of texts that are encoded alone."""
    model = AutoModel.from_pretrained(folder).eval()
    found = []
    for ids in sequences:
        with torch.no_grad():
            states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        found.append({"mean": states.mean(0), "cls": states[0], "last": states[-1]}[pooling])
    return torch.stack(found).numpy()


@pytest.mark.parametrize("kind", PADDING_CHANGES)
def test_vectors_are_those_of_texts_alone_where_padding_changes_them(
    kind, make_folder, tmp_path, capsys
):
    folder = make_folder(kind, **PADDING_CHANGES[kind])
    for pooling in ("mean", "cls", "last"):
        retriever = create_retriever(str(folder), pooling=pooling, tied=False, **LENGTHS)
        said = capsys.readouterr().err
        assert said.count("one length at a time") == 1, said
        sequences = retriever.question_template.questions(TEXTS)
        expected = one_by_one(folder, sequences, pooling)
        np.testing.assert_allclose(retriever.embed_questions(TEXTS), expected, atol=1e-5)
        ids, mask = pad(sequences, pad_id=0)
        padded = retriever.question_tower.together(ids, mask).detach().numpy()
        assert np.abs(padded - expected).max() > 1e-3
        # As a training step does it
        both = retriever(ids, mask, ids, mask, limits=retriever.training_limits)
        for vectors in both:
            np.testing.assert_allclose(vectors.detach(), expected, atol=1e-5)
    retriever.save(tmp_path / "saved")
    again = load_retriever(tmp_path / "saved")
    assert again.question_tower.one_length and again.passage_tower.one_length
    np.testing.assert_allclose(again.embed_questions(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("kind", PADDING_CHANGES_NOTHING)
def test_an_encoder_that_padding_leaves_alone_is_encoded_in_batches(kind, make_folder, capsys):
    folder = make_folder(kind, **PADDING_CHANGES_NOTHING[kind])
    retriever = create_retriever(str(folder), pooling="mean", **LENGTHS)
    assert not retriever.question_tower.one_length
    assert "one length" not in capsys.readouterr().err
    expected = one_by_one(folder, retriever.question_template.questions(TEXTS))
    np.testing.assert_allclose(retriever.embed_questions(TEXTS), expected, atol=1e-4)


def test_bfloat16_is_not_taken_for_a_flaw_and_hides_none(tiny_bert, make_folder):
    half = create_retriever(str(tiny_bert), dtype="bfloat16", **LENGTHS)
    assert not half.question_tower.one_length
    flawed = create_retriever(
        str(make_folder("ConvBertModel", **PADDING_CHANGES["ConvBertModel"])),
        dtype="bfloat16",
        **LENGTHS,
    )
    assert flawed.question_tower.one_length and flawed.question_tower.dtype == "bfloat16"


def test_a_padding_token_that_is_read_is_noticed(make_folder):
    # MobileBERT reads each token beside its neighbours, padding too.
    fields = {**SIZES, "embedding_size": 16, "intra_bottleneck_size": 16, "true_hidden_size": 16}
    folder = make_folder("MobileBertModel", **fields)
    assert not create_retriever(str(folder), **LENGTHS).passage_tower.one_length
    model = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.get_input_embeddings().weight[0] = 1.0
    model.save_pretrained(folder)
    retriever = create_retriever(str(folder), pooling="mean", **LENGTHS)
    assert retriever.passage_tower.one_length
    expected = one_by_one(folder, retriever.question_template.questions(TEXTS))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(retriever.embed_questions(TEXTS), expected, atol=1e-5 * scale)


def test_an_index_and_a_training_step_encode_one_length_at_a_time(make_folder, corpus, tmp_path):
    folder = make_folder("FNetModel", **SIZES)
    retriever = create_retriever(str(folder), pooling="mean", dropout=0.0, **LENGTHS)
    passages = [Passage(*passage) for passage in corpus]
    store = PassageStore.build(passages, tmp_path / "store", source="memory", progress=False)
    tokens = TokenStore.open_or_build(
        store, retriever.passage_template, cache=tmp_path, progress=False
    )
    index = embed_passages(retriever, tokens, tmp_path / "index", store=store, progress=False)
    rows = [tokens[row].tolist() for row in range(len(store))]
    np.testing.assert_allclose(index.vectors(range(60)), one_by_one(folder, rows), atol=1e-5)

    def gradients(encode):
        retriever.zero_grad()
        encode()
        return {name: one.grad.clone() for name, one in retriever.named_parameters()}

    questions = retriever.question_template.questions(TEXTS)

    def alone():
        tower = retriever.question_tower
        vectors = [
            torch.cat([tower(*pad([ids], pad_id=0)) for ids in side]) for side in (questions, rows)
        ]
        (vectors[0] @ vectors[1].T).logsumexp(1).sum().backward()

    def cached():
        inputs = [TowerInputs(0, questions, rows)]
        with grad_cached(
            retriever, retriever, inputs, seed=0, step=0, average=False, chunk_tokens=200
        ) as (asked, shown):
            (asked @ shown.T).logsumexp(1).sum().backward()

    expected = gradients(alone)
    for name, found in gradients(cached).items():
        torch.testing.assert_close(found, expected[name], rtol=1e-3, atol=1e-3, msg=name)


def test_an_index_that_was_embedded_with_padding_is_not_taken_for_one_without(make_folder):
    retriever = create_retriever(str(make_folder("FNetModel", **SIZES)), **LENGTHS)
    apart = retriever.fingerprint()
    retriever.passage_tower.one_length = False
    assert retriever.fingerprint() != apart


def test_a_model_that_gives_other_values_each_time_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ArtError, match="otherwise each time"):
        padding_changes(lambda rows: rng.random((len(rows), 3)), [1], [1, 2], name="a model")


def test_large_values_may_differ_by_what_float32_rounds():
    def read(rows):
        return np.array([[3000.0 + (0.01 if len(rows) > 1 else 0)] for _ in rows])

    assert not padding_changes(read, [1], [1, 2], name="a model")
