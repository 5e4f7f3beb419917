"""The DPR classes of transformers against art."""

from __future__ import annotations

import torch
import transformers
from compare import cases, compare
from transformers import AutoTokenizer, DPRContextEncoder, DPRQuestionEncoder

TOOL = f"transformers {transformers.__version__}, DPR classes"

for case, folder, texts in cases("hf-dpr"):
    vectors = []
    for kind, name, given in (
        (DPRQuestionEncoder, "question_encoder", texts["questions"]),
        (DPRContextEncoder, "ctx_encoder", texts["passages"]),
    ):
        tokenizer = AutoTokenizer.from_pretrained(folder / name)
        encoder = kind.from_pretrained(folder / name).eval()
        batch = tokenizer(given, padding=True, truncation=True, return_tensors="pt")
        with torch.no_grad():
            vectors.append(encoder(**batch).pooler_output.numpy())
    compare(TOOL, case, *vectors)
