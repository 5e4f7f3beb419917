"""The built-in demonstration: a corpus and questions every Python installation already carries.

docstrings  docstrings of modules as passages
corpus      the passages of Python's standard library
run         trains on them and compares
"""
