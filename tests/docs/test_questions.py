"""Ten questions that readers bring, each answered within two clicks of README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tiering

ROOT = Path(tiering.__file__).parent.parent
#: Who asks what, the links to follow from README, and words of the answer below the last one.
QUESTIONS = [
    ("ML engineer", "Why do my GPUs wait?", ["docs/causes.md"], r"\| `storage` \| the consumer waits"),
    ("ML engineer", "How much faster does it get, before I change anything?", ["docs/recommending.md"], "cache that fits is predicted"),
    ("ML engineer", "How do I train from a store with PyTorch, on several nodes?", ["docs/clusters.md"], "torchrun --nnodes 8"),
    ("ML engineer", "Are my images changed, and do I get them back?", ["docs/exporting.md"], "keep the bytes of images"),
    ("storage engineer", "Which files or datasets deserve NVMe?", ["docs/placement.md"], "tier    files    bytes"),
    ("storage engineer", "How much cache should we buy?", ["docs/index.md", "placement.md#size-a-cache"], "tiering cache size"),
    ("storage engineer", "Where do the prices come from, and how do I use ours?", ["docs/index.md", "tiers.md#the-catalog"], "A file of yours overrides"),
    ("storage engineer", "Is it safe to run on our machines?", ["docs/index.md", "security.md#in-one-paragraph"], "never modifies or deletes your data"),
    ("researcher", "Which trace formats are read, and what can each show?", ["docs/traces.md#read-others"], r"\| strace, best"),
    ("researcher", "How good is the classifier, and where does it fail?", ["docs/reference/model.md"], "## Limits"),
]  # fmt: skip


def links(text: str) -> set[str]:
    return set(re.findall(r"\]\(([^)\s]+)\)", text))


def slug(title: str) -> str:
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def below(text: str, place: str) -> str:
    """Return a page from the heading of that name on, up to the next heading of its level or above."""
    if not place:
        return text
    found = next(each for each in re.finditer(r"^(#+) (.*)$", text, re.MULTILINE) if slug(each[2]) == place)
    return re.split(rf"^#{{1,{len(found[1])}}} ", text[found.end() :], flags=re.MULTILINE)[0]


@pytest.mark.parametrize(("who", "question", "path", "answer"), QUESTIONS, ids=[each[1] for each in QUESTIONS])
def test_a_question_is_answered_within_two_clicks_of_the_readme(who, question, path, answer):
    assert len(path) <= 2
    page = ROOT / "README.md"
    for link in path:
        assert link in links(page.read_text()), f"{page}: {link}"
        name, _, place = link.partition("#")
        page = page.parent / name
    assert re.search(answer, below(page.read_text(), place))


def test_the_home_page_lists_the_questions():
    table = below((ROOT / "docs/index.md").read_text(), "ten-questions")
    asked = re.findall(r"^\| (?!who|---)([^|]+) \| ([^|]+) \|", table, re.MULTILINE)
    assert asked == [(who, question) for who, question, _, _ in QUESTIONS]
