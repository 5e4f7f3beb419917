"""Towers against plain Hugging Face models; embedding, gradients and fingerprint."""

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from art.data.batching import BatchLimits
from art.retriever.encoders import pool
from art.retriever.loading import create_retriever
from art.retriever.padding import encoding_tokens
from art.retriever.static import StaticEmbeddingConfig, StaticEmbeddingModel

TEXTS = ["who built the stone bridge", "paper", "where lies the silver mountain ? 12"]
SHORT = {"question_length": 32, "passage_length": 48}


def batch(tokenizer, texts=TEXTS):
    found = tokenizer(texts, padding=True, return_tensors="pt")
    return found["input_ids"], found["attention_mask"].bool()


def reference(folder, pooling):
    """Mean, first and last states computed one unpadded text at a time by the plain model."""
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for text in TEXTS:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            hidden = model(input_ids=ids).last_hidden_state[0].numpy()
        rows.append({"cls": hidden[0], "last": hidden[-1], "mean": hidden.mean(0)}[pooling])
    return np.stack(rows)


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_tower_equals_the_plain_model_whatever_the_padding(tiny_bert, pooling):
    retriever = create_retriever(str(tiny_bert), pooling=pooling, **SHORT)
    ids, mask = batch(retriever.tokenizer)
    vectors = retriever.question_tower(ids, mask)
    assert vectors.dtype == torch.float32
    np.testing.assert_allclose(vectors.detach(), reference(tiny_bert, pooling), atol=2e-6)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_decoder_keeps_its_causal_attention_and_positions(tiny_llama, pooling):
    retriever = create_retriever(str(tiny_llama), pooling=pooling, **SHORT)
    retriever.tokenizer.pad_token = retriever.tokenizer.eos_token
    ids, mask = batch(retriever.tokenizer)
    vectors = retriever.passage_tower(ids, mask).detach()
    np.testing.assert_allclose(vectors, reference(tiny_llama, pooling), atol=2e-6)


def test_token_types_are_zero_as_in_a_pair_of_one(tiny_bert):
    retriever = create_retriever(str(tiny_bert), **SHORT)
    ids, mask = batch(retriever.tokenizer)
    model = AutoModel.from_pretrained(tiny_bert).eval()
    expected = model(ids, mask.long(), token_type_ids=torch.zeros_like(ids)).last_hidden_state
    torch.testing.assert_close(retriever.passage_tower(ids, mask), expected[:, 0])


def test_last_pooling_takes_the_last_attended_position_under_either_padding():
    hidden = torch.arange(24.0).view(2, 4, 3)
    mask = torch.tensor([[True, True, False, False], [False, True, True, True]])
    assert pool(hidden, mask, "last").tolist() == [hidden[0, 1].tolist(), hidden[1, 3].tolist()]


def test_pooling_is_float32_for_half_precision_states_and_finite_without_tokens():
    hidden = torch.full((2, 300, 2), 300.0, dtype=torch.bfloat16)
    mask = torch.ones(2, 300, dtype=torch.bool)
    mask[1] = False
    vectors = pool(hidden, mask, "mean")
    assert vectors.dtype == torch.float32
    assert vectors.tolist() == [[300.0, 300.0], [0.0, 0.0]]


def test_normalised_vectors_have_length_one(tiny_bert):
    retriever = create_retriever(str(tiny_bert), normalize=True, **SHORT)
    lengths = np.linalg.norm(retriever.embed_questions(TEXTS), axis=1)
    np.testing.assert_allclose(lengths, 1, atol=1e-6)


def test_bfloat16_is_near_float32_and_keeps_weights_and_vectors_float32(tiny_bert):
    plain = create_retriever(str(tiny_bert), projection_size=8, **SHORT)
    half = create_retriever(str(tiny_bert), projection_size=8, dtype="bfloat16", **SHORT)
    assert {p.dtype for p in half.parameters()} == {torch.float32}
    ids, mask = batch(half.tokenizer)
    vectors = half.question_tower(ids, mask)
    assert vectors.dtype == torch.float32
    exact = plain.question_tower(ids, mask)
    assert not torch.equal(vectors, exact)
    torch.testing.assert_close(vectors, exact, atol=0.05, rtol=0.05)
    assert half.fingerprint() != plain.fingerprint()


def test_half_precision_checkpoints_are_trained_in_float32(tiny_bert, tmp_path):
    AutoModel.from_pretrained(tiny_bert).bfloat16().save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(tmp_path)
    retriever = create_retriever(str(tmp_path), **SHORT)
    assert {p.dtype for p in retriever.parameters()} == {torch.float32}


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_double_model_stays_double_end_to_end(tiny_bert, pooling, dtype):
    options = {"pooling": pooling, "dtype": dtype, "projection_size": 8, "normalize": True, **SHORT}
    retriever = create_retriever(str(tiny_bert), **options).double()
    ids, mask = batch(retriever.tokenizer)
    vectors = retriever.question_tower(ids, mask)
    assert vectors.dtype == torch.float64
    # Alone, without padding, the same to far beyond float32's precision: nothing was rounded.
    alone = retriever.question_tower(ids[:1, : mask[0].sum()], mask[:1, : mask[0].sum()])
    torch.testing.assert_close(vectors[:1], alone, atol=1e-14, rtol=1e-13)


def test_forward_encodes_either_side_or_both(tiny_bert):
    retriever = create_retriever(str(tiny_bert), **SHORT)
    ids, mask = batch(retriever.tokenizer)
    questions, passages = retriever(ids, mask, ids, mask)
    torch.testing.assert_close(questions, passages)
    assert retriever(ids, mask, None, None)[1] is None
    assert retriever(None, None, ids, mask)[0] is None


@pytest.mark.parametrize("pooling", ["cls", "mean", "last"])
def test_rows_read_by_length_have_the_vectors_of_all_at_once(tiny_bert, pooling):
    retriever = create_retriever(str(tiny_bert), pooling=pooling, dropout=0.0, **SHORT).double()
    ids, mask = batch(retriever.tokenizer, [*TEXTS, "moon", "who built the stone bridge of paper"])
    sizes = []
    retriever.passage_tower.register_forward_pre_hook(lambda _, args: sizes.append(args[0].numel()))
    _, whole = retriever(None, None, ids, mask)
    _, parts = retriever(None, None, ids, mask, limits=BatchLimits(16, padding=2))
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    assert max(sizes[1:]) <= 16 < sizes[0]
    assert sum(sizes[1:]) < sizes[0]


def test_embedding_does_not_depend_on_batches_and_gives_each_module_its_mode_back(tiny_bert):
    retriever = create_retriever(str(tiny_bert), dropout=0.5, **SHORT).train()
    retriever.question_tower.backbone.embeddings.dropout.eval()
    whole = retriever.embed_questions(TEXTS)
    assert retriever.training and retriever.question_tower.backbone.encoder.training
    assert not retriever.question_tower.backbone.embeddings.dropout.training
    tokens = retriever.question_template.questions(TEXTS)
    single = retriever.embed_tokens("question", tokens, batch_tokens=1)
    np.testing.assert_allclose(whole, single, atol=2e-6)
    assert whole.dtype == np.float32 and whole.shape == (3, retriever.embedding_size)
    np.testing.assert_array_equal(retriever.embed_tokens("question", tokens), whole)
    assert retriever.embed_questions([]).shape == (0, retriever.embedding_size)


def test_a_cpu_reads_small_batches_but_looks_up_many_word_vectors_at_once(tiny_bert):
    tower = create_retriever(str(tiny_bert), **SHORT).question_tower
    table = StaticEmbeddingModel(StaticEmbeddingConfig(vocab_size=8, hidden_size=2, pad_token_id=0))
    assert encoding_tokens(tower) < encoding_tokens(table) == encoding_tokens(tower.to("meta"))


def test_every_parameter_that_requires_a_gradient_gets_one(tiny_bert, tiny_llama, tiny_t5):
    for folder in (tiny_bert, tiny_llama, tiny_t5):
        retriever = create_retriever(str(folder), num_layers=1, projection_size=8, **SHORT).train()
        ids = torch.arange(3, 15).view(3, 4)
        questions, passages = retriever(ids, ids > 0, ids, ids > 0)
        (questions * passages).sum().backward()
        for name, parameter in retriever.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name


def test_activation_checkpointing_leaves_gradients_as_they_are(tiny_bert, tiny_llama):
    for folder in (tiny_bert, tiny_llama):
        gradients = []
        for on in (False, True):
            retriever = create_retriever(str(folder), activation_checkpointing=on, **SHORT).train()
            torch.manual_seed(3)
            ids = torch.arange(3, 15).view(3, 4)
            questions, passages = retriever(ids, ids > 0, ids, ids > 0)
            (questions @ passages.T).square().sum().backward()
            gradients.append([p.grad for p in retriever.parameters() if p.requires_grad])
        assert all(map(torch.equal, *gradients))


def test_fingerprint_follows_all_that_shapes_passage_vectors_and_nothing_else(tiny_bert):
    def made(**changes):
        options = {"pooling": "mean", "tied": False, **SHORT, **changes}
        return create_retriever(str(tiny_bert), **options)

    plain = made().fingerprint()
    assert made().fingerprint() == plain
    assert made(question_length=16).fingerprint() == plain
    assert made(temperature=3.0).fingerprint() == plain
    assert made(question_prefix="query: ").fingerprint() == plain
    others = [
        {"passage_length": 40},
        {"passage_prefix": "passage: "},
        {"pooling": "last"},
        {"normalize": True},
        {"num_layers": 1},
        {"projection_size": 8},
        {"projection_size": 8, "seed": 5},
    ]
    found = [made(**one).fingerprint() for one in others]
    assert len({plain, *found}) == len(others) + 1

    moved = made()
    with torch.no_grad():
        moved.question_tower.backbone.embeddings.word_embeddings.weight[7, 3] += 1
    assert moved.fingerprint() == plain
    with torch.no_grad():
        moved.passage_tower.backbone.embeddings.word_embeddings.weight[7, 3] += 1
    assert moved.fingerprint() != plain
