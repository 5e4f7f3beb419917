"""How good a teacher is, before training: what it makes of what BM25 and a retriever find.

candidates  what searches find, and each pair of question and passage once
scoring     their pairs scored, how fast that goes, and the scores kept for the next time
judging     the teacher's order, alone and blended with a search, as metrics
watching    what can be said while it goes on
diagnose    all of it
"""
