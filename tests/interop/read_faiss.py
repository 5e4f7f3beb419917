"""FAISS against art: the vectors of the index in their order, and the ids beside them."""

from __future__ import annotations

import faiss
import numpy as np
from compare import cases, compare

TOOL = f"faiss {faiss.__version__}"

for case, folder, texts in cases("faiss"):
    index = faiss.read_index(str(folder / "index"))
    assert isinstance(index, faiss.IndexFlatIP)
    ids = (folder / "docid").read_text(encoding="utf-8").splitlines()
    assert ids == [f"p{i}" for i in range(len(texts["passages"]))]
    stored = index.reconstruct_n(0, index.ntotal)
    compare(TOOL, case, np.load(case / "questions.npy"), stored)
