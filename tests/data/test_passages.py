import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from art.data import passages as passages_module
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
    monkeypatch.setattr(passages_module, "_hash", lambda passage_id: len(passage_id))
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


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(ArtError):
        PassageStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": "index"}')
    with pytest.raises(CorruptionError):
        PassageStore.open_or_build(tmp_path)
