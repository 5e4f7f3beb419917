"""A quantisation setting reaches transformers, and what transformers refuses is one line."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_teachers import all_pairs, make_reranker
from transformers import AutoModelForCausalLM
from transformers.quantizers import HfQuantizer
from transformers.quantizers.auto import register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from art.errors import ArtError, ConfigError
from art.teacher.registry import load_teacher
from art.training.settings import check_config

ON_CPU = {"dtype": "float32", "device": "cpu"}


@register_quantization_config("round")
class RoundConfig(QuantizationConfigMixin):
    """A method that transformers itself runs, without another package."""

    def __init__(self, step: float = 0.5, **_: Any) -> None:
        self.quant_method = "round"
        self.step = step


@register_quantizer("round")
class RoundQuantizer(HfQuantizer):
    """Weights rounded to multiples of a step; like other quantised models these cannot be moved."""

    requires_calibration = False

    def _process_model_before_weight_loading(self, model, **_: Any) -> None:
        pass

    def _process_model_after_weight_loading(self, model, **_: Any):
        step = self.quantization_config.step
        for parameter in model.parameters():
            parameter.data = (parameter.data / step).round() * step
        model.to = lambda *_, **__: pytest.fail("moved")
        return model

    def is_serializable(self, **_: Any) -> bool:
        return False

    @property
    def is_trainable(self) -> bool:
        return False


class _KernelLinear(torch.nn.Linear):
    """A layer whose kernel this device lacks, as shows only when it is called."""

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        raise _KernelLinear.fault


@register_quantization_config("kernel")
class KernelConfig(QuantizationConfigMixin):
    """A method that loads everywhere."""

    def __init__(self, **_: Any) -> None:
        self.quant_method = "kernel"


@register_quantizer("kernel")
class KernelQuantizer(RoundQuantizer):
    """Every linear layer waits for a kernel."""

    def _process_model_after_weight_loading(self, model, **_: Any):
        for module in model.modules():
            if type(module) is torch.nn.Linear:
                module.__class__ = _KernelLinear
        return model


@pytest.fixture(scope="module")
def models(llama, t5_untied, tiny_bert, tmp_path_factory) -> dict[str, tuple[Path, dict]]:
    reranker = make_reranker(tiny_bert, tmp_path_factory.mktemp("q") / "bert", "bert", 1)
    return {
        "llama": (llama, {}),
        "t5": (t5_untied, {}),
        "reranker": (reranker, {"kind": "cross-encoder", "max_length": 64}),
    }


@pytest.mark.parametrize("name", ["llama", "t5", "reranker"])
def test_the_setting_reaches_transformers_and_the_fingerprint(name: str, models) -> None:
    folder, options = models[name]
    plain = load_teacher(str(folder), **options, **ON_CPU)
    coarse = {"quant_method": "round", "step": 0.25}
    quantized = load_teacher(str(folder), quantization=coarse, **options, **ON_CPU)
    for (_, theirs), (_, ours) in zip(
        plain.model.named_parameters(), quantized.model.named_parameters(), strict=True
    ):
        torch.testing.assert_close(ours, (theirs / 0.25).round() * 0.25)
    found, expected = (one.score_pairs(all_pairs(one)) for one in (quantized, plain))
    assert np.isfinite(found).all() and np.abs(found - expected).max() > 1e-3
    finer = load_teacher(str(folder), quantization={**coarse, "step": 0.125}, **options, **ON_CPU)
    assert len({plain.fingerprint, quantized.fingerprint, finer.fingerprint}) == 3


@pytest.mark.parametrize(
    ("quantization", "complaint"),
    [
        ({"quant_method": "nonsense"}, "Unknown quantization type, got nonsense"),
        ({"weights": "int8"}, "no `quant_method` attribute"),
        ({"quant_method": "quanto", "weights": "int9"}, "int9"),
        ({"load_in_4bit": "yes"}, "load_in_4bit must be a boolean"),
        ({"quant_method": "quanto", "weigths": "int8"}, "quanto has no option weigths .it has"),
    ],
)
def test_what_transformers_does_not_know_is_one_line(quantization, complaint, llama) -> None:
    with pytest.raises(ConfigError, match=rf"^teacher\.quantization: .*{complaint}") as caught:
        load_teacher(str(llama), quantization=quantization, **ON_CPU)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["llama", "t5", "reranker"])
@pytest.mark.parametrize("kind", [RuntimeError, NotImplementedError, AttributeError, ImportError])
def test_a_kernel_that_the_device_lacks_is_one_line_when_the_teacher_loads(
    name: str, kind: type[Exception], models, monkeypatch
) -> None:
    folder, options = models[name]
    fault = kind('\n"gemm_int4" not implemented for CPU.\nStack: a.cpp:7')
    monkeypatch.setattr(_KernelLinear, "fault", fault, raising=False)
    with pytest.raises(ConfigError) as caught:
        load_teacher(str(folder), quantization={"quant_method": "kernel"}, **options, **ON_CPU)
    assert str(caught.value) == (
        f'teacher.model: {str(folder)!r} cannot compute here, on cpu: "gemm_int4" not implemented '
        "for CPU (choose another teacher.quantization, or another device)"
    )


def test_a_model_as_it_is_blames_only_what_torch_refuses(models, monkeypatch) -> None:
    folder, _ = models["llama"]

    def load() -> None:
        load_teacher(str(folder), **ON_CPU)

    def failing(fault: Exception) -> None:
        monkeypatch.setattr(_KernelLinear, "fault", fault, raising=False)
        monkeypatch.setattr(torch.nn.Linear, "forward", _KernelLinear.forward)

    failing(RuntimeError("no kernel image is available"))
    with pytest.raises(ArtError, match=r"no kernel image .*choose another teacher\.dtype, or"):
        load()
    failing(TypeError("a mistake in a program"))
    with pytest.raises(TypeError):
        load()
    failing(torch.OutOfMemoryError("of the device"))
    with pytest.raises(ArtError, match=r"memory of cpu .*lower teacher\.batch_tokens"):
        load()


@pytest.mark.parametrize("quantization", [None, {"quant_method": "round"}])
def test_weights_go_straight_to_their_device_and_what_does_not_fit_names_few_bits(
    quantization, llama, monkeypatch
) -> None:
    def full(*_: Any, device_map: dict[str, torch.device], **__: Any) -> None:
        assert device_map == {"": torch.device("cuda", 3)}
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 42.00 GiB")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", full)
    with pytest.raises(ArtError) as caught:
        load_teacher(str(llama), quantization=quantization, dtype="float32", device="cuda:3")
    assert str(caught.value).startswith(
        f"teacher.model: {str(llama)!r} does not fit into the memory of cuda:3 (load it in "
        "few bits with teacher.quantization"
    )


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="it is here")
def test_a_missing_package_is_one_line_that_names_it(llama) -> None:
    setting = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    with pytest.raises(ConfigError, match=r"^teacher\.quantization: .*pip install -U bitsandbytes"):
        load_teacher(str(llama), quantization=setting, **ON_CPU)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="needs bitsandbytes")
@pytest.mark.parametrize("name", ["llama", "t5", "reranker"])
def test_eight_bits_score_nearly_alike_in_less_memory(name: str, models) -> None:
    folder, options = models[name]
    plain = load_teacher(str(folder), **options, **ON_CPU)
    setting = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    quantized = load_teacher(str(folder), quantization=setting, **options, **ON_CPU)
    expected, found = (one.score_pairs(all_pairs(one)) for one in (plain, quantized))
    assert np.corrcoef(expected, found)[0, 1] > 0.9 and (expected != found).any()
    small, large = (one.model.get_memory_footprint() for one in (quantized, plain))
    assert small < 0.8 * large
    assert quantized.shape() == plain.shape()  # packed weights count in full


def test_a_mapping_can_be_given_on_the_command_line_too(tmp_path) -> None:
    from art.training.settings import read_config

    (tmp_path / "c.yaml").write_text(
        "data: {passages: p, questions: q}\nretriever: {model: m}\nteacher: {model: s}\n"
        "output: {folder: o}\n"
    )
    words = ["--teacher.quantization", "{quant_method: quanto, weights: int8}"]
    config = read_config(tmp_path / "c.yaml", words)
    assert config.teacher.quantization == {"quant_method": "quanto", "weights": "int8"}
    again = check_config(config.model_dump(mode="json"), source="again")
    assert again == config
