"""No broken file is a traceback, a hang or a lost row; hostile ones are refused."""

from __future__ import annotations

import pytest
from broken_input import Tally, check_rows, run_case
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from input_samples import Fault, RowFile, model_folders, other_files, row_files
from mutations import TOKENS

NUM_CASES = 400

# Pieces from which files that nearly are what they should be come together.
pieces = st.sampled_from(
    [b"\t", b"\n", b"\r\n", b'"', b"'", b"a", b"1", b"0", b"{", b"}", b"[", b"]", b":", b",", b" "]
    + [b'{"id": "a", "text": "b"}\n', b'{"id": 1, "question": "b"}\n', b"a\tb\n", b"q 0 p 1\n"]
    + [b"id\ttext\n", b'x\t"y\nz"\n', b"who?\t['a']\n", b"q Q0 p 1 1.5 t\n"]
    + [token for token in TOKENS if len(token) < 40]
)


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    return [*row_files(), *other_files(), *model_folders(tmp_path_factory.mktemp("good"))]


def test_broken_files_of_every_kind_are_read_or_refused_in_one_line(targets, tmp_path) -> None:
    tally = Tally()
    for number in range(NUM_CASES):
        run_case(targets, tmp_path, seed=5, number=number, tally=tally)
    assert tally.failures == []
    assert tally.metrics() == {"cases": NUM_CASES, "tracebacks": 0, "hangs": 0, "lost_rows": 0}
    # Far from all cases are read: they are broken.
    assert tally.refused.total() > NUM_CASES // 4


TEXTS = [one for one in row_files() if not one.name.endswith((".gz", ".json"))]


@pytest.mark.parametrize("target", TEXTS, ids=lambda target: target.name)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(parts=st.lists(pieces, max_size=12), keeps_sample=st.booleans())
def test_no_row_of_any_bytes_is_lost(target, tmp_path, parts, keeps_sample) -> None:
    path = tmp_path / target.name
    path.write_bytes(target.sample * keeps_sample + b"".join(parts))
    check_rows(target, path)


def test_rows_below_a_header_of_two_columns_are_counted(tmp_path) -> None:
    target = next(one for one in TEXTS if one.name == "collection.tsv")
    for end in (b"\n", b"\r\n"):
        (tmp_path / target.name).write_bytes(b"id\ttext" + end + b"a\tmoon" + end)
        check_rows(target, tmp_path / target.name)


def test_every_good_file_is_read_whole(targets, tmp_path) -> None:
    for target in targets:
        if isinstance(target, RowFile) and not target.name.endswith(".gz"):
            (tmp_path / target.name).write_bytes(target.sample)
            found = target.read(tmp_path / target.name, None)
            assert found == target.count(target.sample) > 2


def _never_ends(_path, _bad) -> int:
    while True:
        _path.exists()


def test_a_reader_that_loses_a_row_or_crashes_would_be_found(tmp_path) -> None:
    forgetful = RowFile("a.jsonl", b"{}\n" * 9, lambda _path, _bad: 1, lambda _data: 9)
    crashing = RowFile("a.jsonl", b"{}\n" * 9, lambda _path, _bad: 1 // 0, lambda _data: 9)
    endless = RowFile("a.jsonl", b"{}\n" * 9, _never_ends, len)
    tally = Tally()
    for target in (forgetful, crashing, endless):
        run_case([target], tmp_path, seed=0, number=0, tally=tally, seconds=0.1)
    assert tally.metrics() == {"cases": 3, "tracebacks": 1, "hangs": 1, "lost_rows": 1}
    with pytest.raises(Fault):
        check_rows(forgetful, tmp_path / "a.jsonl")
