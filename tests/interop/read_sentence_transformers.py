"""sentence-transformers against art: the whole folder, and each tower's folder alone."""

from __future__ import annotations

import sentence_transformers
from compare import cases, compare
from sentence_transformers import SentenceTransformer

TOOL = f"sentence-transformers {sentence_transformers.__version__}"

for case, folder, texts in cases("sentence-transformers"):
    model = SentenceTransformer(str(folder), device="cpu")
    questions = model.encode_query(texts["questions"])
    compare(TOOL, case, questions, model.encode_document(texts["passages"]))
    if not (folder / "query").is_dir():
        continue
    try:
        model.encode(texts["questions"])
    except ValueError:
        pass
    else:
        raise SystemExit(f"{TOOL}: {case.name}: encodes without a task")
    towers = {
        route: SentenceTransformer(str(folder / route), device="cpu")
        for route in ("query", "document")
    }
    questions = towers["query"].encode(texts["questions"])
    passages = towers["document"].encode(texts["passages"])
    compare(TOOL, case, questions, passages, " (each folder alone)")
