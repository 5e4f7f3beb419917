"""The built-in demonstration: a corpus and questions every Python installation already carries."""
