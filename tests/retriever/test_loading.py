"""Where retrievers come from: every kind of model, settings that contradict, the saved folder."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModel, AutoModelForTextEncoding, AutoTokenizer

from art.errors import ArtError, ConfigError, CorruptionError
from art.retriever.backbones import looks_only_back
from art.retriever.loading import create_retriever, load_retriever

SHORT = {"question_length": 32, "passage_length": 48}
TEXTS = ["who built the stone bridge", "paper"]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}


@pytest.fixture(scope="session")
def make_folder(tiny_bert, tmp_path_factory):
    """Save a random model of any class with the tiny BERT's tokenizer."""

    def make(kind, config, **fields):
        torch.manual_seed(fields.pop("seed", 0))
        size = len(AutoTokenizer.from_pretrained(tiny_bert))
        folder = tmp_path_factory.mktemp(kind)
        settings = getattr(transformers, config)(vocab_size=size, pad_token_id=0, **fields)
        getattr(transformers, kind)(settings).save_pretrained(folder)
        AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def make_dpr_pair(make_folder):
    """Save both halves of a DPR pair, the passages' with a projection of its own size."""

    def make(projection: int = 0, of_passages: int | None = None):
        sizes = [projection, projection if of_passages is None else of_passages]
        common = {"max_position_embeddings": 64, **SIZES}
        return [
            make_folder(kind, "DPRConfig", projection_dim=sizes[seed], seed=seed, **common)
            for seed, kind in enumerate(("DPRQuestionEncoder", "DPRContextEncoder"))
        ]

    return make


@pytest.fixture(scope="session")
def dpr_pair(make_dpr_pair):
    return make_dpr_pair()


FAMILIES = {
    "RobertaModel": ("RobertaConfig", {"max_position_embeddings": 64, **SIZES}, "cls"),
    "MPNetModel": ("MPNetConfig", {"max_position_embeddings": 64, **SIZES}, "cls"),
    "BertForMaskedLM": ("BertConfig", {"max_position_embeddings": 64, **SIZES}, "cls"),
    "DistilBertModel": (
        "DistilBertConfig",
        {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64},
        "cls",
    ),
    "ModernBertModel": (
        "ModernBertConfig",
        {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3, **SIZES},
        "cls",
    ),
    "Qwen3Model": ("Qwen3Config", {"num_key_value_heads": 2, "head_dim": 8, **SIZES}, "last"),
    "GPT2LMHeadModel": ("GPT2Config", {"n_embd": 32, "n_layer": 3, "n_head": 4}, "last"),
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_any_encoder_is_cut_saved_and_reloaded_as_an_ordinary_folder(kind, make_folder, tmp_path):
    config, fields, pooling = FAMILIES[kind]
    folder = make_folder(kind, config, **fields)
    whole = create_retriever(str(folder), **SHORT)
    retriever = create_retriever(str(folder), num_layers=2, tied=False, **SHORT)
    assert retriever.settings.pooling == pooling
    vectors = retriever.embed_questions(TEXTS)
    assert not np.allclose(vectors, whole.embed_questions(TEXTS))

    retriever.save(tmp_path / "saved")
    again = load_retriever(tmp_path / "saved")
    np.testing.assert_array_equal(again.embed_questions(TEXTS), vectors)
    tower = AutoModel.from_pretrained(tmp_path / "saved" / "passage_tower")
    assert tower.config.num_hidden_layers == 2
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved" / "passage_tower")
    ids = torch.tensor([retriever.question_template.questions(TEXTS)[0]])
    hidden = tower.eval()(input_ids=ids).last_hidden_state[0]
    place = {"cls": 0, "last": -1}[pooling]
    np.testing.assert_allclose(hidden[place].detach(), vectors[0], atol=1e-6)
    assert tokenizer.get_vocab() == retriever.tokenizer.get_vocab()


def test_a_t5_gives_its_encoder(tiny_t5, tmp_path):
    retriever = create_retriever(str(tiny_t5), num_layers=1, **SHORT)
    assert retriever.settings.pooling == "mean"
    assert type(retriever.question_tower.backbone).__name__ == "T5EncoderModel"
    retriever.save(tmp_path / "saved")
    plain = AutoModelForTextEncoding.from_pretrained(tmp_path / "saved" / "question_tower").eval()
    ids = torch.tensor([retriever.question_template.questions(TEXTS)[0]])
    expected = plain(input_ids=ids).last_hidden_state[0].mean(0).detach()
    np.testing.assert_allclose(retriever.embed_questions(TEXTS)[0], expected, atol=1e-6)


def test_a_decoder_stays_causal_and_is_not_pooled_at_its_blind_first_position(tiny_llama):
    retriever = create_retriever(str(tiny_llama), **SHORT)
    assert looks_only_back(retriever.question_tower.backbone)
    assert retriever.settings.pooling == "last"
    with pytest.raises(ConfigError, match="pooling is cls"):
        create_retriever(str(tiny_llama), pooling="cls", **SHORT)


def test_a_cut_model_equals_the_first_layers_of_the_whole(tiny_bert):
    retriever = create_retriever(str(tiny_bert), num_layers=1, **SHORT)
    whole = AutoModel.from_pretrained(tiny_bert).eval()
    ids = torch.tensor([retriever.question_template.questions(TEXTS)[0]])
    expected = whole(ids, output_hidden_states=True).hidden_states[1][0, 0]
    np.testing.assert_allclose(retriever.embed_questions(TEXTS)[0], expected.detach(), atol=1e-6)


@pytest.mark.parametrize("projection", [0, 24])
def test_a_dpr_pair_gives_each_tower_its_own_half(projection, make_dpr_pair, tmp_path):
    pair = make_dpr_pair(projection)
    for kind, folder in zip(("QuestionEncoder", "ContextEncoder"), pair, strict=True):
        half = getattr(transformers, f"DPR{kind}").from_pretrained(folder)
        for name, weight in half.named_parameters():  # they start at zero
            if name.endswith("encode_proj.bias"):
                weight.data.normal_()
        half.save_pretrained(folder)
    retriever = create_retriever(str(pair[0]), passage_model=str(pair[1]), **SHORT)
    retriever.save(tmp_path / "saved")
    again = load_retriever(tmp_path / "saved")
    assert again.fingerprint() == retriever.fingerprint()
    assert retriever.embedding_size == (projection or 32)

    questions, passages = (expected_of_dpr(pair[i], retriever, i) for i in range(2))
    assert np.abs(questions - passages).max() > 0.1
    for one in (retriever, again):
        np.testing.assert_allclose(one.embed_questions(TEXTS), questions, rtol=0, atol=1e-6)
        rows = one.passage_template(["", "stone"], TEXTS)
        found = one.embed_tokens("passage", rows)
        np.testing.assert_allclose(found, passages, rtol=0, atol=1e-6)


def expected_of_dpr(folder, retriever, half: int) -> np.ndarray:
    """What transformers' own class says of the token ids of two texts in one padded batch."""
    kind = ("DPRQuestionEncoder", "DPRContextEncoder")[half]
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    titles = ["", "stone"]
    if half == 0:
        rows = retriever.question_template.questions(TEXTS)
    else:
        rows = retriever.passage_template(titles, TEXTS)
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    with torch.no_grad():
        return model(ids, attention_mask=(ids != 0).long()).pooler_output.numpy()


def test_half_of_a_dpr_pair_alone_is_an_ordinary_bert_before_its_projection(dpr_pair, tmp_path):
    question, passage = map(str, dpr_pair)
    retriever = create_retriever(question, passage_model=passage, **SHORT)
    retriever.save(tmp_path / "saved")
    plain = AutoModel.from_pretrained(tmp_path / "saved" / "passage_tower").eval()
    ids = torch.tensor([retriever.question_template.questions(TEXTS)[0]])
    found = retriever.embed_tokens("passage", ids.tolist())
    np.testing.assert_allclose(plain(ids).last_hidden_state[:, 0].detach(), found, atol=1e-6)


def test_projections_that_do_not_fit_are_refused(make_dpr_pair):
    question, passage = map(str, make_dpr_pair(24))
    with pytest.raises(ConfigError, match="projection_size is 8, but the model's own projection"):
        create_retriever(question, passage_model=passage, projection_size=8, **SHORT)
    for other in (0, 16):
        question, passage = map(str, make_dpr_pair(24, other))
        with pytest.raises(ConfigError, match="have vectors of different sizes"):
            create_retriever(question, passage_model=passage, **SHORT)


def test_half_a_dpr_pair_is_refused_and_so_is_a_swapped_one(dpr_pair):
    question, passage = map(str, dpr_pair)
    with pytest.raises(ConfigError, match=r"half of a DPR pair.*passage_model"):
        create_retriever(question, **SHORT)
    with pytest.raises(ConfigError, match="is a DPRContextEncoder"):
        create_retriever(passage, passage_model=question, **SHORT)


def test_untied_towers_are_exact_copies_and_tied_ones_one_object(tiny_bert, tmp_path):
    options = {"projection_size": 8, **SHORT}
    untied = create_retriever(str(tiny_bert), tied=False, **options)
    pairs = zip(untied.question_tower.parameters(), untied.passage_tower.parameters(), strict=True)
    for ours, theirs in pairs:
        assert ours is not theirs and torch.equal(ours, theirs)
    np.testing.assert_array_equal(
        untied.embed_questions(TEXTS),
        untied.embed_tokens("passage", untied.question_template.questions(TEXTS)),
    )
    tied = create_retriever(str(tiny_bert), **options)
    assert tied.question_tower is tied.passage_tower
    assert 2 * len(list(tied.parameters())) == len(list(untied.parameters()))
    tied.save(tmp_path / "tied")
    assert not (tmp_path / "tied" / "passage_tower").exists()
    again = load_retriever(tmp_path / "tied")
    assert again.question_tower is again.passage_tower
    parted = create_retriever(str(tmp_path / "tied"), tied=False)
    assert parted.question_tower is not parted.passage_tower


def test_temperature_auto_is_the_papers_root_or_a_twentieth(tiny_bert):
    assert create_retriever(str(tiny_bert), **SHORT).temperature == pytest.approx(32**0.5)
    assert create_retriever(str(tiny_bert), projection_size=16, **SHORT).temperature == 4.0
    assert create_retriever(str(tiny_bert), normalize=True, **SHORT).temperature == 0.05
    assert create_retriever(str(tiny_bert), temperature=2.5, **SHORT).temperature == 2.5


def test_poolers_are_gone_and_dropout_is_the_models_own_unless_set(tiny_bert):
    backbone = create_retriever(str(tiny_bert), **SHORT).question_tower.backbone
    assert backbone.pooler is None
    assert backbone.embeddings.dropout.p == 0.1
    changed = create_retriever(str(tiny_bert), dropout=0.25, **SHORT).question_tower.backbone
    rates = {m.p for m in changed.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.25}


def test_frozen_towers_ask_for_no_gradient(tiny_bert):
    for frozen, free in (("question", "passage"), ("passage", "question")):
        retriever = create_retriever(
            str(tiny_bert), freeze=frozen, activation_checkpointing=True, **SHORT
        ).train()
        ids = torch.arange(3, 15).view(3, 4)
        vectors = dict(
            zip(("question", "passage"), retriever(ids, ids > 0, ids, ids > 0), strict=True)
        )
        assert not vectors[frozen].requires_grad and vectors[free].requires_grad
    with pytest.raises(ConfigError, match="tied"):
        create_retriever(str(tiny_bert), freeze="question", tied=True, **SHORT)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"tied": False, "pooling": "mean"},
        {"pooling": "last", "normalize": True, "dtype": "bfloat16"},
        {"projection_size": 8, "num_layers": 1, "temperature": 0.3, "dropout": 0.2},
        {"question_prefix": "query: ", "passage_prefix": "passage: ", "passage_length": 40},
    ],
)
def test_a_saved_retriever_comes_back_bit_for_bit(tiny_bert, tmp_path, options):
    retriever = create_retriever(str(tiny_bert), **{**SHORT, **options})
    with torch.no_grad():  # as training would, part the towers
        for i, parameter in enumerate(retriever.parameters()):
            parameter.add_(torch.full_like(parameter, 1e-3 * (i % 7)))
    retriever.save(tmp_path / "saved", provenance={"step": 7})
    again = load_retriever(tmp_path / "saved")
    assert again.settings == retriever.settings
    assert again.fingerprint() == retriever.fingerprint()
    for one, other in zip(retriever.named_parameters(), again.named_parameters(), strict=True):
        assert one[0] == other[0] and torch.equal(one[1], other[1])
        assert one[1].requires_grad == other[1].requires_grad
    np.testing.assert_array_equal(again.embed_questions(TEXTS), retriever.embed_questions(TEXTS))
    written = json.loads((tmp_path / "saved" / "retriever.json").read_text())
    assert written["provenance"] == {"step": 7}
    assert set(written["versions"]) >= {"art", "torch", "transformers"}
    if "dropout" in options:
        assert again.question_tower.backbone.embeddings.dropout.p == 0.2


def test_a_folder_of_ours_keeps_its_settings_except_those_that_are_named(tiny_bert, tmp_path):
    start = {"pooling": "mean", "projection_size": 8, "tied": False, **SHORT}
    create_retriever(str(tiny_bert), **start).save(tmp_path / "r")
    folder = str(tmp_path / "r")
    saved = load_retriever(folder)
    assert create_retriever(folder).settings == saved.settings
    changed = create_retriever(folder, temperature=2.0, question_length=16, num_layers=1)
    expected = {"temperature": 2.0, "question_length": 16, "num_layers": 1}
    assert changed.settings == dataclasses.replace(saved.settings, **expected)
    assert create_retriever(folder, normalize=True).temperature == 0.05
    with pytest.raises(ConfigError, match="projection_size is 4"):
        create_retriever(folder, projection_size=4)
    with pytest.raises(ConfigError, match="two towers"):
        create_retriever(folder, tied=True)


def test_a_manifest_of_another_format_or_without_a_field_is_refused(tiny_bert, tmp_path):
    create_retriever(str(tiny_bert), **SHORT).save(tmp_path / "r")
    path = tmp_path / "r" / "retriever.json"
    written = json.loads(path.read_text())
    path.write_text(json.dumps(written | {"format_version": 3, "more": 1}))
    with pytest.raises(ArtError, match="retriever format 3, but this version reads up to 2"):
        load_retriever(tmp_path / "r")
    del written["settings"]["pooling"]
    path.write_text(json.dumps(written))
    with pytest.raises(CorruptionError, match=r"settings\.pooling"):
        load_retriever(tmp_path / "r")


def test_an_interrupted_save_leaves_the_older_retriever(tiny_bert, tmp_path, monkeypatch):
    retriever = create_retriever(str(tiny_bert), **SHORT)
    retriever.save(tmp_path / "r")
    before = load_retriever(tmp_path / "r").fingerprint()
    changed = create_retriever(str(tiny_bert), pooling="mean", **SHORT)

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(changed.tokenizer, "save_pretrained", full)
    with pytest.raises(ArtError, match="No space left"):
        changed.save(tmp_path / "r")
    assert load_retriever(tmp_path / "r").fingerprint() == before
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_faults_are_one_line_that_names_the_model(tiny_bert, tiny_llama, tmp_path, make_folder):
    with pytest.raises(ArtError, match=r"'no-such/model'.*Hugging Face cache"):
        create_retriever("no-such/model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtError, match=r"cannot load the model .*empty"):
        create_retriever(str(tmp_path / "empty"))
    with pytest.raises(ArtError, match=r"retriever\.json is missing"):
        load_retriever(tmp_path / "empty")
    bart = make_folder(
        "BartModel", "BartConfig", d_model=16, encoder_layers=1, decoder_layers=1, **{
            "encoder_attention_heads": 2, "decoder_attention_heads": 2,
            "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 64,
        },
    )  # fmt: skip
    with pytest.raises(ArtError, match="no text encoder"):
        create_retriever(str(bart), **SHORT)
    # A checkpoint without the weights the class needs would otherwise start from random ones.
    shutil.copytree(tiny_bert, tmp_path / "cut")
    config = json.loads((tmp_path / "cut" / "config.json").read_text())
    config["num_hidden_layers"] = 3
    (tmp_path / "cut" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ArtError, match="lacks 16 weights"):
        create_retriever(str(tmp_path / "cut"), **SHORT)
    # transformers looks at this one only when it reads a text.
    shutil.copytree(tiny_bert, tmp_path / "long")
    config = json.loads((tmp_path / "long" / "tokenizer_config.json").read_text())
    config["model_max_length"] = "many"
    (tmp_path / "long" / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(ArtError, match=r"cannot load the model .*long"):
        create_retriever(str(tmp_path / "long"), **SHORT)


def test_settings_that_do_not_fit_the_model_are_refused(tiny_bert, tiny_llama, make_folder):
    with pytest.raises(ConfigError, match="256, but the model has 128 positions"):
        create_retriever(str(tiny_bert))
    config, fields, _ = FAMILIES["RobertaModel"]
    roberta = make_folder("RobertaModel", config, **fields)
    with pytest.raises(ConfigError, match="64, but the model has 63 positions"):
        create_retriever(str(roberta), passage_length=64)
    with pytest.raises(ConfigError, match="num_layers is 3, but the model has 2"):
        create_retriever(str(tiny_bert), num_layers=3, **SHORT)
    with pytest.raises(ConfigError, match="different vocabularies"):
        create_retriever(str(tiny_bert), passage_model=str(tiny_llama), **SHORT)
    with pytest.raises(ConfigError, match="second tower"):
        create_retriever(str(tiny_bert), passage_model=str(tiny_bert), tied=True, **SHORT)


def test_a_pickled_checkpoint_loads_only_as_plain_tensors(tiny_bert, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_bert, folder)
    (folder / "model.safetensors").unlink()
    model = AutoModel.from_pretrained(tiny_bert)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    plain = create_retriever(str(tiny_bert), **SHORT)
    assert create_retriever(str(folder), **SHORT).fingerprint() == plain.fingerprint()
    torch.save({"anything": model}, folder / "pytorch_model.bin")
    with pytest.raises(ArtError, match="pickle of more than tensors"):
        create_retriever(str(folder), **SHORT)
