"""What `last` pooling reads: one end token behind every text, also behind one that is cut."""

import json

import numpy as np
import pytest
import torch
from tokenizers import processors
from transformers import AutoModel, AutoTokenizer

from art.retriever.loading import create_retriever, load_retriever

TEXTS = ["moon", "who built the stone bridge " * 20]
LENGTHS = {"question_length": 24, "passage_length": 24}
END, OTHER = "<|end|>", "<|im_start|>"


@pytest.fixture
def make_llama(tiny_llama, tmp_path):
    """Copy the tiny Llama with another end of its texts."""

    def make(template=None, eos=END, side="right"):
        tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
        if template:
            tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
                single=template,
                special_tokens=[
                    (token, tokenizer.convert_tokens_to_ids(token)) for token in (END, OTHER)
                ],
            )
        tokenizer.eos_token = eos
        tokenizer.padding_side = side
        tokenizer.save_pretrained(tmp_path / "llama")
        AutoModel.from_pretrained(tiny_llama).save_pretrained(tmp_path / "llama")
        return tmp_path / "llama"

    return make


CASES = {
    "none, so the end of sequence is appended": (None, END, [END]),
    "its own, which is the end of sequence": (f"$A {END}", END, [END]),
    "its own, which is not the end of sequence": (f"$A {END}", OTHER, [END]),
    "one in front only": (f"{OTHER} $A", END, [END]),
    "both in front and behind": (f"{END} $A {OTHER}", END, [OTHER]),
    "none, and none is known": (None, None, []),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("side", ["right", "left"])
def test_last_pooling_reads_one_end(case, side, make_llama, tmp_path, capsys):
    template, eos, ending = CASES[case]
    folder = make_llama(template, eos, side)
    retriever = create_retriever(str(folder), pooling="last", **LENGTHS)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = []
    for text in TEXTS:
        ids = tokenizer(text, padding=False)["input_ids"]
        if template is None or template.endswith("$A"):
            ids = ids + [tokenizer.convert_tokens_to_ids(one) for one in ending]
        if len(ids) > 24:
            ids = ids[: 24 - len(ending)] + ids[len(ids) - len(ending) :]
        expected.append(ids)
    assert retriever.question_template.questions(TEXTS) == expected
    assert ("knows no end-of-sequence" in capsys.readouterr().err) == (not ending)

    model = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = [model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1] for ids in expected]
    vectors = retriever.embed_questions(TEXTS)
    np.testing.assert_allclose(vectors, torch.stack(states).numpy(), atol=1e-5)
    retriever.save(tmp_path / "saved")
    again = load_retriever(tmp_path / "saved")
    assert again.question_template.questions(TEXTS) == expected


def test_another_pooling_appends_nothing_until_it_is_last(make_llama, tmp_path):
    folder = make_llama()
    create_retriever(str(folder), pooling="mean", **LENGTHS).save(tmp_path / "saved")
    end = AutoTokenizer.from_pretrained(folder).eos_token_id
    for pooling in ("mean", "last"):
        retriever = create_retriever(str(tmp_path / "saved"), pooling=pooling)
        (ids,) = retriever.question_template.questions(["moon"])
        assert (ids[-1] == end) == (pooling == "last")


def test_a_folder_of_an_earlier_version_keeps_the_ends_it_was_trained_with(make_llama, tmp_path):
    retriever = create_retriever(str(make_llama(f"$A {END}", OTHER)), pooling="last", **LENGTHS)
    retriever.save(tmp_path / "saved")
    manifest = tmp_path / "saved" / "retriever.json"
    document = json.loads(manifest.read_text())
    document["settings"]["append_eos"] = None
    manifest.write_text(json.dumps(document))
    older = load_retriever(tmp_path / "saved")
    ends = [retriever.tokenizer.convert_tokens_to_ids(one) for one in (END, OTHER)]
    for ids in older.question_template.questions(TEXTS):
        assert ids[-2:] == ends
