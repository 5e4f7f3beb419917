"""langchain-huggingface's embedder against art."""

from __future__ import annotations

from importlib.metadata import version

from compare import cases, compare
from langchain_huggingface import HuggingFaceEmbeddings

TOOL = f"langchain-huggingface {version('langchain-huggingface')}"

for case, folder, texts in cases("sentence-transformers"):
    two_towers = (folder / "query").is_dir()
    embedder = HuggingFaceEmbeddings(
        model_name=str(folder),
        model_kwargs={"device": "cpu"},
        encode_kwargs={"task": "document", "prompt_name": "document"} if two_towers else {},
        query_encode_kwargs={"task": "query", "prompt_name": "query"} if two_towers else {},
    )
    questions = [embedder.embed_query(text) for text in texts["questions"]]
    # It puts a space in the place of every line break, so that such texts are others.
    rows = [i for i, text in enumerate(texts["passages"]) if "\n" not in text]
    passages = embedder.embed_documents([texts["passages"][i] for i in rows])
    compare(TOOL, case, questions, passages, rows=rows)
