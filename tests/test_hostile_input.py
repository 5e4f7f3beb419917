"""Files made by an enemy: code is never run, folders are not left, memory is not filled."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from art.data.formats import read_questions
from art.data.prompts import LikelihoodTemplate, RetrieverTemplate
from art.errors import ArtError, DataError
from art.retriever.index import Index
from art.retriever.loading import create_retriever
from art.teacher.registry import load_teacher
from art.training.run_folder import RunFolder

MARKUP = ("<s>", "</s>", "[SEP]", "[CLS]", "<|endoftext|>", "<|end|>", "<|im_start|>", "<pad>")
MARKUP += ("<extra_id_0>", "<unk>", "[MASK]", "<bos>", "<eos>")


class _Touches:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "run")


@pytest.mark.parametrize(
    "code",
    [
        "__import__('pathlib').Path({path!r}).write_text('run')",
        "[__import__('pathlib').Path({path!r}).write_text('run')]",
        "[(lambda: open({path!r}, 'w'))()]",
        "[f'{{open({path!r}, \"w\")}}']",
    ],
)
def test_code_among_the_answers_is_refused_and_never_run(tmp_path, code) -> None:
    path = tmp_path / "questions.csv"
    path.write_text(f"who?\t['a']\nwhat?\t{code.format(path=str(tmp_path / 'touched'))}\n")
    with pytest.raises(DataError, match=r"questions\.csv:2: not a "):
        read_questions(path)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("how", ["plain", "torch"])
def test_a_pickle_disguised_as_weights_is_refused_and_never_run(
    tiny_bert, tmp_path, name, how
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    (folder / "model.safetensors").unlink()
    weights = {"weight": _Touches(tmp_path / "touched")}
    if how == "torch":
        torch.save(weights, folder / name)
    else:
        (folder / name).write_bytes(pickle.dumps(weights))
    for load in (create_retriever, load_teacher):
        with pytest.raises(ArtError) as caught:
            load(str(folder))
        assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(ArtError, match="cannot load the model"):
        create_retriever(str(folder), passage_length=32)
    assert not (tmp_path / "touched").exists()


def test_a_model_folder_with_code_of_its_own_is_not_run(tiny_bert, tmp_path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'touched')!r}, 'w')\n")
    for name, key in (("config.json", "AutoModel"), ("tokenizer_config.json", "AutoTokenizer")):
        document = json.loads((folder / name).read_text())
        document["auto_map"] = {"AutoConfig": "evil.Config", key: "evil.Any"}
        document["model_type"] = "unheard-of"
        (folder / name).write_text(json.dumps(document))
    with pytest.raises(ArtError, match="cannot load the model"):
        create_retriever(str(folder), passage_length=32)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("climbing", [True, False])
def test_weights_named_outside_their_folder_are_refused(tiny_bert, tmp_path, climbing) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    name = "../elsewhere.safetensors" if climbing else str(tmp_path / "elsewhere.safetensors")
    save_file(weights, tmp_path / "elsewhere.safetensors", metadata={"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(weights, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    for load in (create_retriever, load_teacher):
        with pytest.raises(ArtError, match=r"index\.json: names weights outside its folder"):
            load(str(folder))


def test_an_index_reads_no_shard_but_its_own(tmp_path) -> None:
    # Shards have no names in the manifest: a field that gave them some is refused.
    manifest = {"num_passages": 1, "shards": ["../../etc/passwd"]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtError, match=r"manifest\.json: "):
        Index.open(tmp_path)


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc", "..", ""])
def test_a_checkpoint_names_no_index_outside_its_run(tmp_path, name) -> None:
    run = RunFolder(tmp_path)
    assert run.index_folder("step-00000002").parent == tmp_path / "index"
    with pytest.raises(ArtError, match="outside the run"):
        run.index_folder(name)


_PEAK = """
import gzip, resource, sys, time
from pathlib import Path
from art.data.formats import read_passages
from art.data.rows import BadRows
from art.errors import DataError

path, skip = Path(sys.argv[1]), BadRows() if sys.argv[2] == "skip" else None
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    said = str(sum(1 for _ in read_passages(path, skip)))
except DataError as error:
    said = str(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)  # MiB
print(said, skip.count if skip else "")
"""


def _read_in_a_child(path: Path, how: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(path), how], capture_output=True, text=True, check=True
    )
    peak, said = done.stdout.splitlines()
    return int(peak), said


def test_a_row_of_a_gigabyte_is_refused_with_its_line_in_little_memory(tmp_path) -> None:
    path = tmp_path / "collection.tsv"
    with open(path, "wb") as file:  # a hole in the file: it takes no room on the disk
        file.write(b"1\tmoon\n2\tr")
        file.seek(1 << 30)
        file.write(b"iver\n3\tstone\n")
    peak, said = _read_in_a_child(path, "stop")
    assert f"{path}:2: a row is longer than 16 MiB" in said
    assert peak < 200
    peak, said = _read_in_a_child(path, "skip")
    assert said == "2 1"
    assert peak < 200


def test_an_archive_that_unpacks_to_a_gigabyte_is_refused_in_little_memory(tmp_path) -> None:
    path = tmp_path / "passages.jsonl.gz"
    packer = zlib.compressobj(1, wbits=31)
    with open(path, "wb") as file:
        file.write(packer.compress(b'{"id": 1, "text": "moon"}\n{"id": 2, "text": "'))
        for _ in range(64):
            file.write(packer.compress(bytes(16 << 20)))
        file.write(packer.flush())
    assert path.stat().st_size < 8 << 20
    peak, said = _read_in_a_child(path, "stop")
    assert f"{path}:2: a row is longer than 16 MiB" in said
    assert peak < 200


def test_markup_in_passages_and_questions_is_never_a_special_token(
    tiny_bert, tiny_t5, tiny_llama
) -> None:
    from transformers import AutoTokenizer

    hostile = [f"moon {' '.join(MARKUP)} river", "".join(MARKUP), *MARKUP]
    folders = {"": tiny_bert, "encoder-decoder": tiny_t5, "causal": tiny_llama}
    for family, folder in folders.items():
        tokenizer = AutoTokenizer.from_pretrained(folder)
        vocabulary = tokenizer.get_vocab()
        special = {vocabulary[name] for name in MARKUP if name in vocabulary}
        special |= set(tokenizer.all_special_ids)
        special.discard(tokenizer.unk_token_id)  # what such markup may well become
        retriever = RetrieverTemplate(tokenizer, max_length=256)
        readers = [
            lambda text, read=retriever: read.questions([text])[0],
            lambda text, read=retriever: read([""], [text])[0],
            lambda text, read=retriever: read([text], [text])[0],
        ]
        if family:
            teacher = LikelihoodTemplate(tokenizer, family=family)
            readers += [
                lambda text, read=teacher: read.context(read([""], [text])[0]),
                lambda text, read=teacher: read.context(read([text], [text])[0]),
                lambda text, read=teacher: read.target(text),
            ]
        assert len(special) > 0
        for read in readers:
            own = [token for token in read("moon") if token in special]  # the template's
            for text in hostile:
                assert [token for token in read(text) if token in special] == own
