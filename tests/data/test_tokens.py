import numpy as np
import pytest
import torch
from damage import spoil
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from art.data import tokens as tokens_module
from art.data.formats import Passage
from art.data.passages import PassageStore
from art.data.prompts import LikelihoodTemplate, RetrieverTemplate
from art.data.tokens import TokenStore, pad
from art.errors import ArtError


class Fixed:
    """An encoder that tells a text's length, and for some texts nothing."""

    vocab_size = 70_000

    def __init__(self, fingerprint="fixed"):
        self.fingerprint = fingerprint

    def __call__(self, titles, texts):
        return [[len(text)] * (len(text) % 5) for text in texts]


@pytest.fixture(scope="module")
def store(corpus, tmp_path_factory):
    passages = [
        Passage(f"{passage_id}-{copy}", title, f"{text} {copy}")
        for copy in range(40)
        for passage_id, title, text in corpus
    ]
    folder = tmp_path_factory.mktemp("tokens") / "store"
    return PassageStore.build(passages, folder, source="here", progress=False)


@pytest.fixture(scope="module")
def template(tiny_bert):
    return RetrieverTemplate(AutoTokenizer.from_pretrained(tiny_bert), max_length=24)


def contents(tokens):
    return {path.name: path.read_bytes() for path in tokens.folder.iterdir()}


def test_a_token_store_equals_encoding_directly(store, template, tmp_path):
    tokens = TokenStore.open_or_build(store, template, cache=tmp_path, progress=False)
    passages = list(store)
    expected = template([one.title for one in passages], [one.text for one in passages])
    assert [tokens[row].tolist() for row in range(len(tokens))] == expected
    assert tokens.lengths().tolist() == [len(row) for row in expected]
    assert tokens.lengths().dtype == np.int32 and tokens[0].dtype == np.int64
    assert (tokens.folder / "ids.bin").stat().st_size == 2 * sum(map(len, expected))


def test_one_thread_and_small_chunks_write_the_same_files(store, template, tmp_path, monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    every_core = TokenStore.open_or_build(store, template, cache=tmp_path / "a", progress=False)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setattr(tokens_module, "_CHUNK_PASSAGES", 7)
    one_thread = TokenStore.open_or_build(store, template, cache=tmp_path / "b", progress=False)
    assert contents(every_core) == contents(one_thread)


def test_a_token_store_is_built_once_for_one_encoding(store, tmp_path):
    folders = [
        TokenStore.open_or_build(store, Fixed(name), cache=tmp_path, progress=False)
        for name in ("a", "a", "b")
    ]
    assert folders[0].folder == folders[1].folder != folders[2].folder


def test_a_large_vocabulary_and_empty_rows_are_kept(tmp_path):
    lengths = [5, 9, 66_001, 10]
    passages = [Passage(str(n), "", "x" * n) for n in lengths]
    store = PassageStore.build(passages, tmp_path / "store", source="here", progress=False)
    tokens = TokenStore.open_or_build(store, Fixed(), cache=tmp_path, progress=False)
    assert [tokens[row].tolist() for row in range(4)] == [[], [9] * 4, [66_001], []]
    with pytest.raises(IndexError):
        tokens[4]


@pytest.mark.parametrize("name", ["ids.bin", "offsets.bin", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damaged_token_files_are_made_again(store, tmp_path, name, damage, capsys):
    settings = {"cache": tmp_path, "progress": False}
    tokens = TokenStore.open_or_build(store, Fixed(), **settings)
    expected = [tokens[row].tolist() for row in range(len(tokens))]
    path = tokens.folder / name
    contents = spoil(path, damage)
    tokens = TokenStore.open_or_build(store, Fixed(), **settings)
    assert [tokens[row].tolist() for row in range(len(tokens))] == expected
    assert path.read_bytes() == contents
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and "building it again" in told[0]


def test_a_failure_while_tokenising_is_one_error_that_names_the_passages(tmp_path, monkeypatch):
    passages = [Passage(str(n), "", "x" * n) for n in range(5)]
    store = PassageStore.build(passages, tmp_path / "store", source="here", progress=False)
    monkeypatch.setattr(tokens_module, "_CHUNK_PASSAGES", 2)

    class Broken(Fixed):
        error: Exception = TypeError("no such room")

        def __call__(self, titles, texts):
            if "xxx" in texts:
                raise self.error
            return super().__call__(titles, texts)

    with pytest.raises(ArtError, match="among passages 3 to 4: TypeError: no such") as caught:
        TokenStore.open_or_build(store, Broken(), cache=tmp_path, progress=False)
    assert caught.value.where == "here"
    Broken.error = ArtError("said in our own words")
    with pytest.raises(ArtError, match=r"^said in our own words$"):
        TokenStore.open_or_build(store, Broken(), cache=tmp_path, progress=False)
    assert not [path for path in (tmp_path / "tokens").iterdir() if path.is_dir()]


def test_a_store_that_turns_out_damaged_while_tokenising_is_built_again(template, tmp_path):
    source = tmp_path / "corpus.tsv"
    source.write_text("id\ttext\n" + "".join(f"{n}\tmoon river {n}\n" for n in range(5)))
    settings = {"cache": tmp_path, "progress": False}
    folder = PassageStore.open_or_build(source, **settings).folder
    contents = spoil(folder / "text.bin", "flipped")
    store = PassageStore.open_or_build(source, **settings)
    tokens = TokenStore.open_or_build(store, template, **settings)
    assert (folder / "text.bin").read_bytes() == contents
    assert [tokens[row].tolist() for row in range(5)] == template(
        [one.title for one in store], [one.text for one in store]
    )


@given(st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=5))
def test_padding_keeps_the_sequences_on_their_side(sequences):
    for side in ("right", "left"):
        ids, mask = pad(sequences, pad_id=0, side=side)
        assert ids.dtype == torch.int64 and mask.dtype == torch.bool
        assert ids.shape == mask.shape == (len(sequences), max(map(len, sequences)))
        assert [row[keep].tolist() for row, keep in zip(ids, mask, strict=True)] == sequences
        assert (ids[~mask] == 0).all()
        edge = mask if side == "right" else mask.flip(1)
        assert (edge.int().diff(dim=1) <= 0).all()


def test_the_teacher_template_is_an_encoder_of_passages(store, tiny_t5, tmp_path):
    template = LikelihoodTemplate(AutoTokenizer.from_pretrained(tiny_t5), family="encoder-decoder")
    tokens = TokenStore.open_or_build(store, template, cache=tmp_path, progress=False)
    one = store[7]
    assert tokens[7].tolist() == template.passages([one.title], [one.text])[0]
