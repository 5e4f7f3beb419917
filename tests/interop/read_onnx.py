"""onnxruntime without torch against art."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import onnxruntime
from compare import cases, compare
from tokenizers import Tokenizer

TOOL = f"onnxruntime {onnxruntime.__version__}, no torch"
assert find_spec("torch") is None

for case, folder, texts in cases("onnx"):
    vectors = []
    for name, given in (("query", texts["questions"]), ("document", texts["passages"])):
        prefix = texts["prefixes"][name]
        tower = folder / name if (folder / name).is_dir() else folder
        tokenizer = Tokenizer.from_file(str(tower / "tokenizer.json"))
        tokenizer.enable_padding(pad_id=0)
        encodings = tokenizer.encode_batch([prefix + text for text in given])
        feed = {
            "input_ids": np.array([one.ids for one in encodings]),
            "attention_mask": np.array([one.attention_mask for one in encodings]),
        }
        (found,) = onnxruntime.InferenceSession(tower / "model.onnx").run(["embedding"], feed)
        vectors.append(found)
    compare(TOOL, case, *vectors)
