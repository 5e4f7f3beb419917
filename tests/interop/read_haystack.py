"""Haystack's sentence-transformers embedders against art: one tower's folder each."""

from __future__ import annotations

from importlib.metadata import version

from compare import cases, compare
from haystack import Document
from haystack_integrations.components.embedders.sentence_transformers import (
    SentenceTransformersDocumentEmbedder,
    SentenceTransformersTextEmbedder,
)

TOOL = f"sentence-transformers-haystack {version('sentence-transformers-haystack')}"

for case, folder, texts in cases("sentence-transformers"):
    two_towers = (folder / "query").is_dir()
    of_questions, of_passages = (
        (folder / "query", folder / "document") if two_towers else (folder, folder)
    )
    asking = SentenceTransformersTextEmbedder(model=str(of_questions), progress_bar=False)
    reading = SentenceTransformersDocumentEmbedder(model=str(of_passages), progress_bar=False)
    asking.warm_up()
    reading.warm_up()
    questions = [asking.run(text=text)["embedding"] for text in texts["questions"]]
    documents = reading.run(documents=[Document(content=text) for text in texts["passages"]])
    compare(TOOL, case, questions, [one.embedding for one in documents["documents"]])
