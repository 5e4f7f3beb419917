"""Corpora and questions on disk, and their way into token ids.

- `rows`: lines, csv rows and JSON objects of plain or gzipped files, each with its line number.
- `records`: passages, questions and labelled examples, and the rows that say them; `json_lists`:
  one long JSON list, streamed.
- `formats`: passages, questions, labelled questions, judgements and results in every file format
  that is known, each a module of its own.
- `in_memory`: the same from lists and datasets, written once as files.
- `documents`, `splitting`: folders of documents (`markdown`, `webpages`, plain text, JSON lines) as
  text under titles (`headings`), and their passages of a hundred words.
- `passages`: `PassageStore`, the memory-mapped corpus (row ↔ passage id, title, text).
- `encoding`: `TextEncoder`, token ids of user text in which no markup is read as a special token.
- `prompts`: `RetrieverTemplate` and `LikelihoodTemplate`, what each model reads and how it is cut.
- `tokens`: `TokenStore`, the memory-mapped token ids of a whole store; padding.
- `contrastive`: what a contrastive step reads of a question; `cloze`: such pairs cut from passages.
- `batching`: batches by token budget and the order of an epoch, both pure functions.
"""
