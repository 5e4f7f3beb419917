"""Tiny models and a small corpus, built in memory: no test needs the network."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from tiny_bert import save_tiny_bert

# Nothing is asserted about speed: a busy machine must not fail a property.
hypothesis_settings.register_profile("untimed", deadline=None)
hypothesis_settings.load_profile("untimed")

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

WORDS = (
    "the of a in moon river stone bridge music paper north winter garden engine letter island "
    "market doctor silver orange mountain ocean temple hammer candle forest mirror desert valley "
    "who what where when why how is was did do does built wrote found lies turns makes keeps . , ?"
).split()


def sentences(count: int, length: int = 12) -> list[str]:
    """Deterministic nonsense over `WORDS`; sentence i differs from sentence j."""
    return [
        " ".join(WORDS[(i * 7 + j * (i % 11 + 3) + j * j) % len(WORDS)] for j in range(length))
        + f" {i}"
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def known_metrics() -> Iterator[None]:
    """Leave only the metrics that the tests of a module count on, whichever were added since."""
    from art.evaluation.metrics import METRICS

    known = {"top_<k>", "agreed_reciprocal_rank", "teacher_log_likelihood"}
    known |= {f"{name}@<k>" for name in ("ndcg", "mrr", "recall", "recall_cap", "map")}
    known |= {"pooled_mrr", "pooled_top_1", "pooled_average_rank"}
    others = [one for one in METRICS if one.name not in known]
    for one in others:
        METRICS.remove(one.name)
    yield
    for one in others:
        METRICS.add(one)


@pytest.fixture(autouse=True, scope="session")
def _private_cache(tmp_path_factory: pytest.TempPathFactory):
    """Keep what the tests build out of the user's cache."""
    os.environ["ART_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def corpus() -> list[tuple[str, str, str]]:
    """Sixty passages (id, title, text); every fifth has no title."""
    return [
        (f"p{i}", "" if i % 5 == 0 else f"title {WORDS[i % 40]} {i}", text)
        for i, text in enumerate(sentences(60, 20))
    ]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random two-layer BERT and a WordPiece tokenizer."""
    return save_tiny_bert(tmp_path_factory.mktemp("tiny-bert"), WORDS)


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random T5 and a sentencepiece tokenizer trained here."""
    import sentencepiece
    import torch
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    folder = tmp_path_factory.mktemp("tiny-t5")
    text = [*sentences(300), "Passage : Please write a question based on this passage . Question:"]
    model_file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=model_file,
        vocab_size=160,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        character_coverage=1.0,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(model_file.getvalue())
    tokenizer = T5Tokenizer.from_pretrained(folder, extra_ids=0)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer),
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    )
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama and a byte-level BPE tokenizer trained here."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = ByteLevelBPETokenizer()
    special = ["<|end|>", "<|im_start|>"]
    backend.train_from_iterator(sentences(300), vocab_size=400, special_tokens=special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend._tokenizer, eos_token="<|end|>", bos_token="<|im_start|>"
    )
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{{ message['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
        )
    )
    folder = tmp_path_factory.mktemp("tiny-llama")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
