"""The glossary defines each word once, and only words that are in use."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import tiering

ROOT = Path(tiering.__file__).parent.parent
GLOSSARY = ROOT / "docs/glossary.md"
TERMS = re.findall(r"^- \*\*([^*]+)\*\*: \S", GLOSSARY.read_text(), re.MULTILINE)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
#: Words that are old, or that are never the plainest choice.
DATED = ("anew", "whoever", "whosoever", "nobody", "therein", "thereof", "whence")


def test_no_term_is_defined_twice():
    assert [term for term, times in Counter(TERMS).items() if times > 1] == []
    assert len(TERMS) > 40


@pytest.mark.parametrize("term", TERMS)
def test_every_term_is_used_elsewhere(term):
    word = re.compile(rf"\b{re.escape(term)}", re.IGNORECASE)
    others = [path for path in PAGES if path != GLOSSARY] + sorted((ROOT / "tiering").rglob("*.py"))
    assert any(word.search(path.read_text()) for path in others)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_pages_use_no_dated_words(page):
    assert re.findall(rf"\b(?:{'|'.join(DATED)})\b", page.read_text(), re.IGNORECASE) == []
