"""Question log-likelihoods against Hugging Face's own loss, one pair at a time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaModel,
    T5Config,
    T5ForConditionalGeneration,
)

from art.errors import ArtError
from art.scorer import likelihood
from art.scorer.likelihood import Scorer, load_scorer, token_log_probabilities

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


def pairs(scorer: Scorer) -> tuple[list[list[int]], list[list[int]]]:
    titles, texts = (list(column) for column in zip(*PASSAGES, strict=True))
    passages = scorer.template.passages(titles, texts)
    contexts = [scorer.template.context(ids) for ids in passages for _ in QUESTIONS]
    return contexts, [scorer.template.target(text) for _ in PASSAGES for text in QUESTIONS]


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


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def t5_tied(tiny_t5: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first T5: one table for embedding and head, decoder outputs scaled."""
    folder = tmp_path_factory.mktemp("t5-tied")
    shutil.copytree(tiny_t5, folder, dirs_exist_ok=True)
    model = T5ForConditionalGeneration.from_pretrained(tiny_t5)
    sharpen(model)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    shutil.copytree(tiny_llama, folder, dirs_exist_ok=True)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    sharpen(model)
    model.save_pretrained(folder)
    return folder


def with_tokenizer_of(source: Path, folder: Path, model: torch.nn.Module) -> Path:
    shutil.copytree(source, folder)
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", ["t5_tied", "t5_untied", "llama"])
@pytest.mark.parametrize("batch_tokens", [1, 700, None])
def test_mean_is_minus_hugging_faces_loss(
    name: str, batch_tokens: int | None, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    scorer = load_scorer(str(folder), dtype="float32", device="cpu", batch_tokens=batch_tokens)
    contexts, targets = pairs(scorer)
    expected = by_hugging_face(folder, contexts, targets)
    scores = scorer.log_likelihoods(contexts, targets)
    assert scores.dtype == np.float32 and scores.shape == (25,)
    assert expected.std() > 0.1  # else any order would pass
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)


def test_t5_heads_are_tied_and_scaled_as_saved(t5_tied: Path, t5_untied: Path) -> None:
    first, later = (load_scorer(str(folder), device="cpu").model for folder in (t5_tied, t5_untied))
    assert torch.equal(first.lm_head.weight, first.shared.weight)
    assert not torch.equal(later.lm_head.weight, later.shared.weight)
    assert (first.config.scale_decoder_outputs, later.config.scale_decoder_outputs) == (True, False)


@pytest.mark.parametrize("name", ["t5_untied", "llama"])
def test_sum_is_the_mean_times_the_number_of_target_tokens(
    name: str, request: pytest.FixtureRequest
) -> None:
    folder = str(request.getfixturevalue(name))
    mean = load_scorer(folder, dtype="float32", device="cpu")
    total = load_scorer(folder, dtype="float32", device="cpu", reduction="sum")
    contexts, targets = pairs(mean)
    counts = np.array([len(ids) for ids in targets])
    np.testing.assert_allclose(
        total.log_likelihoods(contexts, targets),
        mean.log_likelihoods(contexts, targets) * counts,
        rtol=2e-6,
    )
    assert mean.fingerprint != total.fingerprint


@pytest.fixture(scope="module")
def scored(t5_untied: Path, llama: Path) -> list[tuple[Scorer, list, list, np.ndarray]]:
    found = []
    for folder in (t5_untied, llama):
        scorer = load_scorer(str(folder), dtype="float32", device="cpu")
        contexts, targets = pairs(scorer)
        found.append((scorer, contexts, targets, scorer.log_likelihoods(contexts, targets)))
    return found


@settings(max_examples=15, deadline=None)
@given(
    chosen=st.lists(st.integers(0, 24), max_size=12),
    batch_tokens=st.integers(1, 3000),
    family=st.integers(0, 1),
)
def test_order_company_and_budget_do_not_matter(
    scored: list[tuple[Scorer, list, list, np.ndarray]],
    chosen: list[int],
    batch_tokens: int,
    family: int,
) -> None:
    scorer, contexts, targets, expected = scored[family]
    before, scorer.batch_tokens = scorer.batch_tokens, batch_tokens
    try:
        scores = scorer.log_likelihoods([contexts[i] for i in chosen], [targets[i] for i in chosen])
    finally:
        scorer.batch_tokens = before
    np.testing.assert_allclose(scores, expected[chosen], rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", [0, 1])
@pytest.mark.parametrize("batch_tokens", [300, 1500])
def test_no_batch_holds_more_padded_tokens_than_its_budget(
    scored: list, family: int, batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, contexts, targets, _ = scored[family]
    sizes = []
    forward = scorer._forward

    def spy(**inputs: torch.Tensor) -> torch.Tensor:
        read = [inputs["input_ids"], inputs.get("decoder_input_ids")]
        sizes.append((len(read[0]), sum(ids.numel() for ids in read if ids is not None)))
        return forward(**inputs)

    monkeypatch.setattr(scorer, "_forward", spy)
    monkeypatch.setattr(scorer, "batch_tokens", batch_tokens)
    scorer.log_likelihoods(contexts, targets)
    assert sum(count for count, _ in sizes) == len(contexts)
    assert all(tokens <= batch_tokens or count == 1 for count, tokens in sizes)


def test_causal_logits_are_made_near_the_questions_only(
    scored: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer, contexts, targets, _ = scored[1]
    longest = max(map(len, targets))
    widths = []
    forward = scorer._forward

    def spy(**inputs: torch.Tensor) -> torch.Tensor:
        logits = forward(**inputs)
        widths.append(logits.shape[1])
        return logits

    monkeypatch.setattr(scorer, "_forward", spy)
    blocks = []  # torch copies a head once per row where its input is not one block of memory
    hook = scorer.model.lm_head.register_forward_pre_hook(
        lambda _, inputs: blocks.append(inputs[0].is_contiguous())
    )
    scorer.log_likelihoods(contexts, targets)
    hook.remove()
    assert max(widths) <= longest + 1 and all(blocks)


@pytest.mark.parametrize("chunk", [1, 100, 1 << 22])
def test_token_log_probabilities_are_a_float32_log_softmax(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likelihood, "_CHUNK_LOGITS", chunk)
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(3, 5, 40, generator=generator) * 8).bfloat16()
    ids = torch.randint(0, 40, (3, 5), generator=generator)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 0, 0, 0], [0, 0, 1, 1, 0]]).bool()
    expected = logits.double().log_softmax(-1).gather(-1, ids[..., None])[..., 0] * mask
    found = token_log_probabilities(logits, ids, mask)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5)


def test_models_without_logits_to_keep_or_position_ids_agree_too(
    tiny_llama: Path, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(load_scorer(str(llama), device="cpu").template._encoder._backend.get_vocab())
    torch.manual_seed(0)
    gpt2 = GPT2LMHeadModel(
        GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=700)
    )
    bloom = BloomForCausalLM(BloomConfig(vocab_size=size, hidden_size=32, n_layer=2, n_head=4))
    for name, model in {"gpt2": gpt2, "bloom": bloom}.items():  # absolute positions; none at all
        sharpen(model)
        folder = with_tokenizer_of(tiny_llama, tmp_path / name, model)
        scorer = load_scorer(str(folder), dtype="float32", device="cpu")
        contexts, targets = pairs(scorer)
        expected = by_hugging_face(folder, contexts, targets)
        for accepted in (scorer._accepts, scorer._accepts - {"logits_to_keep"}):
            monkeypatch.setattr(scorer, "_accepts", accepted)
            scores = scorer.log_likelihoods(contexts, targets)
            np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5, err_msg=name)


def test_nothing_to_score_gives_nothing(scored: list) -> None:
    for scorer, *_ in scored:
        assert scorer.log_likelihoods([], []).shape == (0,)


def test_an_empty_context_or_target_is_one_clear_error(scored: list) -> None:
    for scorer, *_ in scored:
        with pytest.raises(ArtError, match="at least one token of context"):
            scorer.log_likelihoods([[]], [[5]])
        with pytest.raises(ArtError, match="at least one token of target"):
            scorer.log_likelihoods([[5], [5]], [[5], []])


def test_nothing_can_learn(t5_tied: Path, llama: Path) -> None:
    for folder in (t5_tied, llama):
        scorer = load_scorer(str(folder), device="cpu")
        assert not any(p.requires_grad for p in scorer.model.parameters())
        assert not any(module.training for module in scorer.model.modules())
        assert scorer.model.config._attn_implementation == "sdpa"


def test_bfloat16_is_close_to_float32(t5_tied: Path, llama: Path) -> None:
    for folder in (t5_tied, llama):
        full = load_scorer(str(folder), dtype="float32", device="cpu")
        half = load_scorer(str(folder), dtype="bfloat16", device="cpu")
        contexts, targets = pairs(full)
        scores = half.log_likelihoods(contexts, targets)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, full.log_likelihoods(contexts, targets), atol=0.3)
        assert full.fingerprint != half.fingerprint


def test_the_fingerprint_follows_weights_prompt_and_lengths(llama: Path, t5_tied: Path) -> None:
    def of(folder: Path, **changed: object) -> str:
        return load_scorer(str(folder), device="cpu", **changed).fingerprint

    same = of(llama)
    assert same == of(llama, batch_tokens=100) == of(llama, question_prefix="Question: ")
    prompt = load_scorer(str(llama), device="cpu", chat_template=True).template.prompt
    assert of(llama, chat_template=True) == of(llama, passage_prompt=prompt, question_prefix="")
    changes = [
        {"max_length": 300},
        {"question_length": 9},
        {"passage_prompt": "{passage} Ask."},
        {"question_prefix": "Q:"},
        {"chat_template": True},
    ]
    others = {of(llama, **changed) for changed in changes}
    assert len(others | {same, of(t5_tied), of(t5_tied, question_prefix="Q: ")}) == 8


@pytest.mark.parametrize("kind", [BertModel, BertForMaskedLM])
def test_encoder_only_models_are_refused(kind: type, tiny_bert: Path, tmp_path: Path) -> None:
    model = kind(BertConfig.from_pretrained(tiny_bert))
    folder = with_tokenizer_of(tiny_bert, tmp_path / "bert", model)
    with pytest.raises(ArtError, match="generates no text"):
        load_scorer(str(folder), device="cpu")


def test_a_checkpoint_without_a_head_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    body = LlamaModel(AutoModelForCausalLM.from_pretrained(tiny_llama).config)
    folder = with_tokenizer_of(tiny_llama, tmp_path / "body", body)
    with pytest.raises(ArtError, match=r"lacks 1 weights .* lm_head\.weight"):
        load_scorer(str(folder), device="cpu")


def test_an_unknown_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtError, match="nowhere"):
        load_scorer(str(tmp_path / "nowhere"), device="cpu")


def test_more_tokens_than_positions_are_refused(tiny_llama: Path) -> None:
    with pytest.raises(ArtError, match="reads 1024 tokens at most"):
        load_scorer(str(tiny_llama), max_length=1000, device="cpu")


@pytest.mark.gpu
def test_a_gpu_agrees_with_the_cpu(t5_untied: Path, llama: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    for folder in (t5_untied, llama):
        scorer = load_scorer(str(folder), dtype="float32", device="cpu")
        contexts, targets = pairs(scorer)
        expected = scorer.log_likelihoods(contexts, targets)
        there = load_scorer(str(folder), dtype="float32", device="cuda")
        np.testing.assert_allclose(there.log_likelihoods(contexts, targets), expected, atol=1e-4)
        fast = load_scorer(str(folder), device="cuda").log_likelihoods(contexts, targets)
        np.testing.assert_allclose(fast, expected, atol=0.3)
