"""Readers, which find the answer to a question in the passages that were retrieved for it.

template  token ids of a question and a passage, as a reader reads them
spans     where an answer stands in a text, from a reader's logits
reader    the model, loaded and reading passages batched by their tokens
reading   questions answered from their passages, and how well
job       the same by all processes, kept for a killed job to go on
"""
