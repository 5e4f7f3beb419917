import os

import pytest
from damage import spoil
from hypothesis import given, settings
from hypothesis import strategies as st

from art import integrity
from art.data import passages as passages_module
from art.data import store_files
from art.data.formats import Passage
from art.data.passages import PassageStore
from art.errors import ArtError, CorruptionError, DataError

texts = st.text(st.characters(codec="utf-8"), max_size=20)


def build(corpus, folder) -> PassageStore:
    passages = (Passage(*one) for one in corpus)
    return PassageStore.build(passages, folder, source="here", progress=False)


@settings(max_examples=30, deadline=None)
@given(
    corpus=st.lists(
        st.tuples(texts, texts, texts), min_size=1, max_size=10, unique_by=lambda p: p[0]
    )
)
def test_a_store_gives_back_what_it_was_built_from(corpus, tmp_path_factory):
    store = build(corpus, tmp_path_factory.mktemp("store"))
    assert list(store) == [Passage(*one) for one in corpus]
    assert [store.row_of(one[0]) for one in corpus] == list(range(len(corpus)))
    assert store.ids(range(len(corpus))) == [one[0] for one in corpus]
    assert store.row_of("never seen in there") is None


def test_a_store_reopened_is_the_same(corpus, tmp_path):
    built = build(corpus, tmp_path / "store")
    opened = PassageStore.open(tmp_path / "store")
    assert list(opened) == list(built)
    assert (opened.fingerprint, opened.source) == (built.fingerprint, "here")
    assert PassageStore.open_or_build(tmp_path / "store").fingerprint == built.fingerprint


def test_the_fingerprint_tells_apart_what_only_moved_between_fields(tmp_path):
    corpora = [[("a", "b", "c")], [("ab", "", "c")], [("a", "", "bc")]]
    corpora += [[("a", "b", "c"), ("d", "e", "f")], [("d", "e", "f"), ("a", "b", "c")]]
    prints = {build(one, tmp_path / str(i)).fingerprint for i, one in enumerate(corpora)}
    assert len(prints) == len(corpora)


def test_rows_outside_the_store_are_refused(corpus, tmp_path):
    store = build(corpus, tmp_path / "store")
    for row in (-1, len(store)):
        with pytest.raises(IndexError):
            store[row]


def test_a_duplicate_id_is_refused_with_both_places(tmp_path):
    corpus = [("a", "", "moon"), ("b", "", "river"), ("a", "", "stone")]
    with pytest.raises(DataError, match=r"'a' occurs twice: passages 1 and 3"):
        build(corpus, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_ids_that_share_a_hash_are_told_apart(tmp_path, monkeypatch):
    for module in (passages_module, store_files):
        monkeypatch.setattr(module, "id_hash", len)
    corpus = [(i, "", "text") for i in ("a", "b", "cc", "d", "dd")]
    store = build(corpus, tmp_path / "store")
    assert [store.row_of(one[0]) for one in corpus] == [0, 1, 2, 3, 4]
    assert store.row_of("e") is None
    with pytest.raises(DataError, match="passages 1 and 6"):
        build([*corpus, ("a", "", "again")], tmp_path / "other")


def test_an_empty_corpus_is_refused(tmp_path):
    with pytest.raises(DataError, match="no passage"):
        build([], tmp_path / "store")


def test_a_source_is_built_once_and_again_when_it_changes(tmp_path):
    source, cache = tmp_path / "corpus.tsv", tmp_path / "cache"
    source.write_text("id\ttext\n1\tmoon\n")
    first = PassageStore.open_or_build(source, cache=cache, progress=False)
    again = PassageStore.open_or_build(str(source), cache=cache, progress=False)
    assert again.folder == first.folder and again[0].text == "moon"
    source.write_text("id\ttext\n1\tnoon\n")
    os.utime(source, ns=(1, 1))
    changed = PassageStore.open_or_build(source, cache=cache, progress=False)
    assert changed[0].text == "noon" and changed.fingerprint != first.fingerprint


@pytest.mark.parametrize("name", ["text.bin", "offsets.bin", "hashes.bin"])
def test_a_cut_off_or_missing_file_is_refused(corpus, tmp_path, name):
    path = build(corpus, tmp_path / "store").folder / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptionError, match=name):
        PassageStore.open(tmp_path / "store")
    path.unlink()
    with pytest.raises(CorruptionError, match=name):
        PassageStore.open(tmp_path / "store")


@pytest.mark.parametrize("name", ["text.bin", "offsets.bin", "hashes.bin", "manifest.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_a_damaged_store_is_built_again_from_its_corpus(corpus, tmp_path, name, damage, capsys):
    source = tmp_path / "corpus.tsv"
    source.write_text("id\ttitle\ttext\n" + "".join("\t".join(one) + "\n" for one in corpus))
    folder = PassageStore.open_or_build(source, cache=tmp_path, progress=False).folder
    contents = spoil(folder / name, damage)
    store = PassageStore.open_or_build(source, cache=tmp_path, progress=False)
    assert [store.row_of(one.passage_id) for one in store] == list(range(len(corpus)))
    assert list(store) == [Passage(*one) for one in corpus]
    assert (folder / name).read_bytes() == contents
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 and "building it again" in told[0]


def test_a_flipped_bit_in_a_store_without_a_corpus_is_one_clear_error(corpus, tmp_path):
    build(corpus, tmp_path / "store")
    spoil(tmp_path / "store" / "text.bin", "flipped")
    store = PassageStore.open_or_build(tmp_path / "store")
    with pytest.raises(CorruptionError, match=r"text\.bin: block 0 .*restore the folder"):
        store[30]


def test_a_store_whose_corpus_has_changed_is_not_built_again_under_its_name(tmp_path):
    source = tmp_path / "corpus.tsv"
    source.write_text("id\ttext\n1\tmoon\n")
    store = PassageStore.open_or_build(source, cache=tmp_path, progress=False)
    spoil(store.folder / "text.bin", "flipped")
    store = PassageStore.open_or_build(source, cache=tmp_path, progress=False)
    source.write_text("id\ttext\n1\tanother\n")
    with pytest.raises(CorruptionError, match="its corpus has changed"):
        store[0]


def test_damage_beyond_the_blocks_that_are_read_does_not_show(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(integrity, "BLOCK_BYTES", 256)
    build(corpus, tmp_path / "store")
    spoil(tmp_path / "store" / "text.bin", "flipped")
    store = PassageStore.open(tmp_path / "store")
    assert store[0] == Passage(*corpus[0]) and store[59] == Passage(*corpus[59])
    with pytest.raises(CorruptionError):
        list(store)


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(ArtError):
        PassageStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "index"}')
    with pytest.raises(CorruptionError):
        PassageStore.open_or_build(tmp_path)
