"""Files of `torch.save` read without executing anything: passengers, damage, hostile ones."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import random
import struct
import subprocess
import zipfile
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from art.errors import ArtError
from art.interop.tensor_pickle import StandIn, StoredTensor, fields_of
from art.interop.torch_checkpoint import open_checkpoint

FORMATS = {"zip": True, "before 1.6": False}


def save(value, path: Path, how: str = "zip") -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=FORMATS[how])
    return path


def passengers() -> dict:
    """Return what Megatron and DPR pickle beside the weights."""
    return {
        "args": argparse.Namespace(num_attention_heads=4, params_dtype=torch.float16, deep=[{1}]),
        "rng": {
            "python": random.getstate(),
            "numpy": np.random.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.zeros(816, dtype=torch.uint8),
            "trackers": {"model-parallel-rng": torch.zeros(8, dtype=torch.uint8)},
        },
        "optimizer": {"state": defaultdict(dict, {0: {"step": torch.tensor(3.0)}})},
        "scalar": np.float64(0.5),
        "path": Path("somewhere"),
        "sizes": torch.Size([2, 3]),
        "offset": 0,
    }


@pytest.mark.parametrize("how", FORMATS)
def test_tensors_are_read_and_passengers_are_not_made(tmp_path, how, caplog) -> None:
    base = torch.randn(6, 4)
    weights = OrderedDict(
        whole=base,
        view=base[2:4],
        turned=base.t(),
        half=base.half(),
        brain=base.bfloat16(),
        double=base.double(),
        scalar=torch.tensor(2.5),
        empty=torch.empty(0, 3),
        parameter=torch.nn.Parameter(base.clone()),
    )
    weights._metadata = {"": {"version": 1}}
    path = save({"model": weights, **passengers()}, tmp_path / "model.pt", how)
    with open_checkpoint(path) as found:
        assert fields_of(found.root["args"])["num_attention_heads"] == 4
        assert isinstance(found.root["args"], StandIn)
        assert list(found.root["model"]) == list(weights)
        for name, one in found.root["model"].items():
            assert isinstance(one, StoredTensor)
            read = found.read(one, name)
            assert read.dtype == torch.float32
            assert torch.equal(read, weights[name].detach().float())
        with pytest.raises(ArtError, match="real numbers"):
            found.read(found.root["rng"]["torch"], "rng")
    assert sum("neither made nor run" in one.message for one in caplog.records) == 1


class Calls:
    """Unpickling this calls something."""

    def __init__(self, *call) -> None:
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize("how", FORMATS)
@pytest.mark.parametrize(
    "call",
    [os.system, subprocess.check_output, eval, exec, os.mkdir],
    ids=lambda one: one.__name__,
)
def test_a_file_that_would_run_something_is_refused_and_runs_nothing(tmp_path, call, how) -> None:
    touched = tmp_path / "touched"
    word = {"eval": f"open({str(touched)!r}, 'w')", "mkdir": str(touched)}.get(call.__name__)
    hostile = Calls(call, word or f"touch {touched}")
    path = save({"model_dict": {"w": torch.ones(2)}, "epoch": hostile}, tmp_path / "model.cp", how)
    wanted = pytest.raises(ArtError, match=r"runs programs.*nothing of it was run")
    with wanted as caught, open_checkpoint(path):
        pass
    assert "\n" not in str(caught.value)
    assert not touched.exists()


@pytest.mark.parametrize("how", FORMATS)
def test_a_call_that_no_list_knows_runs_nothing_either(tmp_path, how) -> None:
    touched = tmp_path / "touched"
    hostile = Calls(Path.write_text, touched, "run")
    path = save({"w": torch.ones(2), "epoch": hostile}, tmp_path / "model.cp", how)
    with open_checkpoint(path) as found:
        assert torch.equal(found.read(found.root["w"], "w"), torch.ones(2))
        assert isinstance(found.root["epoch"], StandIn)
    assert not touched.exists()


def refused(path: Path, match: str) -> None:
    with pytest.raises(ArtError, match=match) as caught, open_checkpoint(path) as found:
        found.read(found.root["w"], "w")
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("how", FORMATS)
def test_a_file_cut_anywhere_is_one_clear_line(tmp_path, how) -> None:
    whole = save({"w": torch.randn(64)}, tmp_path / "whole.cp", how).read_bytes()
    path = tmp_path / "cut.cp"
    for size in sorted({0, 1, 3, 5, *range(7, len(whole), 41), len(whole) - 1}):
        path.write_bytes(whole[:size])
        refused(path, "cut short|not a |no checkpoint|where others are named")


def rewritten(path: Path, change) -> None:
    """Write a zip file again with other entries: (name, contents) → the same, or None."""
    with zipfile.ZipFile(path) as archive:
        entries = [(one, archive.read(one)) for one in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in filter(None, (change(*one) for one in entries)):
            archive.writestr(name, contents)


def test_more_numbers_than_the_file_has_are_refused(tmp_path) -> None:
    path = save({"w": torch.arange(8.0)}, tmp_path / "model.cp")
    old, new = b"K\x08tq", b"M\x00\x10tq"

    def grown(name, contents):
        assert not name.endswith("data.pkl") or old in contents
        return name, contents.replace(old, new)

    rewritten(path, grown)
    refused(path, "has 32 bytes under '0' for 4096 numbers")


def test_a_shape_larger_than_its_numbers_is_refused(tmp_path) -> None:
    path = save({"w": torch.arange(8.0)}, tmp_path / "model.cp")
    rewritten(path, lambda name, one: (name, one.replace(b"K\x08\x85", b"M\x00\x10\x85")))
    refused(path, "w is larger than the 8 numbers")


def test_numbers_repeated_without_end_are_refused(tmp_path) -> None:
    path = save({"w": torch.ones(1).expand(10**6, 10**6)}, tmp_path / "model.cp")
    refused(path, "w is larger than the 1 numbers")


def test_a_name_that_climbs_is_refused(tmp_path) -> None:
    (tmp_path / "outside").write_bytes(bytes(32))
    path = save({"w": torch.arange(8.0)}, tmp_path / "model.cp")
    key = b"X\x01\x00\x00\x000"
    climbing = b"../../outside"
    longer = b"X" + struct.pack("<I", len(climbing)) + climbing
    rewritten(path, lambda name, one: (name, one.replace(key, longer)))
    refused(path, "names numbers that are not in the file: '../../outside'")


def test_damaged_numbers_are_refused(tmp_path) -> None:
    path = save({"w": torch.full((64,), 7.0)}, tmp_path / "model.cp")
    whole = path.read_bytes()
    at = whole.index(struct.pack("<f", 7.0) * 8)
    path.write_bytes(whole[:at] + b"\x01" + whole[at + 1 :])
    refused(path, "damaged: Bad CRC")


def test_numbers_that_are_not_finite_are_refused(tmp_path) -> None:
    refused(save({"w": torch.tensor([1.0, float("nan")])}, tmp_path / "model.cp"), "not finite")


def test_a_packed_file_is_refused(tmp_path) -> None:
    path = save({"w": torch.zeros(1 << 20)}, tmp_path / "model.cp")
    with zipfile.ZipFile(path) as archive:
        entries = [(one, archive.read(one)) for one in archive.namelist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in entries:
            archive.writestr(name, contents)
    refused(path, "compressed or encrypted")


def test_a_pickle_that_would_fill_memory_is_refused(tmp_path) -> None:
    path = save({"w": torch.zeros(8)}, tmp_path / "model.cp")
    greedy = b"\x80\x02Nr\xff\xff\xff\x7f."  # one object, at place 2,147,483,647 of the memo

    def other(name, contents):
        return name, greedy if name.endswith("data.pkl") else contents

    rewritten(path, other)
    refused(path, "a memo larger than the pickle")


@pytest.mark.parametrize(
    "contents",
    [
        pickle.dumps({"w": 1}),
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00)\x85t\x52.",
        b"\x80\x02ccollections\nOrderedDict\n}b.",  # attributes given to what stands for a class
        b"not a pickle",
        io.BytesIO().getvalue(),
    ],
)
def test_other_pickles_are_refused(tmp_path, contents) -> None:
    path = tmp_path / "model.cp"
    path.write_bytes(contents)
    refused(path, "not a |a pickle, but not one")


def test_a_file_that_is_not_there_is_one_clear_line(tmp_path) -> None:
    refused(tmp_path / "nothing.cp", "cannot read: No such file")


@given(st.data())
@settings(max_examples=150)
def test_a_changed_byte_anywhere_is_read_or_one_clear_line(tmp_path_factory, data) -> None:
    path = tmp_path_factory.mktemp("changed") / "model.cp"
    how = data.draw(st.sampled_from([*FORMATS]))
    save({"w": torch.ones(3), "v": torch.ones(2, 2).t(), **passengers()}, path, how)
    whole = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, min(len(whole), 2500) - 1))  # where the tensors' pickle lies
    whole[place] = data.draw(st.integers(0, 255))
    path.write_bytes(whole)
    try:
        with open_checkpoint(path) as found:
            for name in ("w", "v"):
                one = found.root[name] if isinstance(found.root, dict) else None
                if isinstance(one, StoredTensor):
                    found.read(one, name)
    except ArtError as error:
        assert "\n" not in str(error)
    except KeyError as error:  # of this test, for a changed name
        assert error.args[0] in ("w", "v")
