"""What README and the pages of the site show is what commands and code print now, and so is README's picture."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import pytest

from docs import recording, shown

#: What a newcomer sees first, and the errors, are looked at in every run; the other pages take longer.
SHORT = ("README", "causes", "estimate", "troubleshooting", "aws", "google", "azure")


@pytest.mark.parametrize(
    "page",
    [page if Path(page).stem in SHORT else pytest.param(page, marks=pytest.mark.slow) for page in shown.PAGES],
)
def test_the_output_on_a_page_is_what_its_blocks_print_now(page):
    before = shown.comparable((shown.ROOT / page).read_text()).splitlines()
    with shown.empty_directory():
        after = shown.comparable(shown.made(page)).splitlines()
    assert before == after, f"remake it: python -m docs.shown {page}\n" + "\n".join(difflib.unified_diff(before, after))


def test_output_below_a_command_is_asked_for_and_never_typed():
    docs = shown.ROOT / "docs"
    block = re.compile(r"^(<!-- shown[^\n]*\n)?```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
    for path in (shown.ROOT / "README.md", *docs.glob("*.md"), *docs.glob("clouds/*.md")):
        for how, body in block.findall(path.read_text()):
            typed = re.sub(r"^\$ (?:.*\\\n)*.*\n", "", body, flags=re.MULTILINE)
            assert how or not typed, f"{path}: {typed}"


def test_the_picture_of_the_readme_shows_what_its_commands_print_now():
    with shown.empty_directory():
        found = {path: text for path, text in recording.pictures().items() if path.read_text() != text}
    assert list(found) == [], "remake it: python -m docs.recording"


def test_the_picture_shows_commands_of_the_readme():
    readme = (shown.ROOT / "README.md").read_text()
    assert [command for command, _ in recording.SESSION if f"$ {command}\n" not in readme] == []


def test_measured_figures_of_a_page_may_differ_and_words_may_not():
    page = "<!-- shown: measured -->\n```python\nshow()\n```\n\n```text\n{}\n```\n"
    assert shown.comparable(page.format("lmdb 1,204 images/s")) == shown.comparable(page.format("lmdb   983 images/s"))
    assert shown.comparable(page.format("lmdb 12 images/s")) != shown.comparable(page.format("zarr 12 images/s"))


def test_a_live_view_is_compared_by_how_its_lines_begin_and_the_log_without_its_times():
    page = "<!-- shown: live -->\n```console\n$ tiering watch 7\nread  {} MB\n{}\n{}\n```\n"
    seen = shown.comparable(page.format(3, "71  python  20 %", "memory  3 GB"))
    assert seen == shown.comparable(page.format(14, "8  python  1 %", "9  worker"))
    assert seen != shown.comparable(page.format(3, "epoch  1", ""))
    log = "<!-- shown -->\n```console\n$ tiering log x.lmdb\n1  2026-11-{}T04:12:08Z  convert  {}\n```\n"
    assert shown.comparable(log.format(28, 600)) == shown.comparable(log.format(29, 600))
    assert shown.comparable(log.format(28, 600)) != shown.comparable(log.format(28, 601))


def test_the_last_picture_on_a_terminal_is_kept(tmp_path):
    drawn = r"printf '\033[?25lfirst\n\r\033[1A\033[2K\033[1mlast\033[0m 2\nline\n\033[?25h\r\033[2Kdone\n'"
    assert shown.live(drawn) == ["last 2", "line"]
    with pytest.raises(SystemExit, match="expected a picture, found"):
        shown.live("echo none")


def test_lines_are_kept_by_number_and_by_first_word():
    assert list(shown.kept(["a", "b", "now c", "d"], "1 now")) == ["a", "...", "now c", "..."]
    assert list(shown.kept(["a", "b"], "")) == ["a", "b"]


#: How many times as fast tiering is, in README: by tool and by column. Each figure is in the tables of the benchmarks.
TOOLS = {
    "WebDataset": "webdataset tars",
    "LitData": "litdata chunks",
    "MDS": "mosaic streaming",
    "Hugging Face Datasets": "hf datasets",
    "Grain, ArrayRecord": "grain array record",
    "PyTorch's DataLoader, torchvision's ImageFolder": "torch files",
}


def rows(text: str, begin: str, end: str) -> dict[str, list[str]]:
    part = text[text.index(begin) : text.index(end)]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in cells}


def test_the_comparison_in_the_readme_has_the_figures_of_the_benchmarks():
    readme, page = ((shown.ROOT / name).read_text() for name in ("README.md", "docs/benchmarks.md"))
    named = {
        name: row
        for cell, row in rows(readme, "## How it compares", "## What it needs").items()
        if (name := (re.search(r"\[([^\]]*)", cell) or [0, cell])[1])
    }
    photographs = rows(page, "<!-- peers: photographs -->", "<!-- end of peers: photographs -->")
    tiny = rows(page, "<!-- peers: tiny -->", "<!-- end of peers: tiny -->")

    def of(table: dict[str, list[str]], tool: str) -> list[str]:
        return next(row for name, row in table.items() if name.startswith(tool))

    for name, tool in TOOLS.items():
        _, _, cold, _, warm = of(photographs, tool)
        assert named[name][:3] == [cold, warm, of(tiny, tool)[-1]], name
    ready = rows(page, "### Photographs", "### Large photographs")
    for name, way in (
        ("DALI", "DALI"),
        ("FFCV", "FFCV"),
        ("PyTorch's DataLoader, torchvision's ImageFolder", "ImageFolder"),
    ):
        found = next(row for key, row in ready.items() if key == way or (way != "DALI" and key.startswith(f"{way},")))
        assert found[2].startswith(f"{named[name][3]} ("), name


def test_the_headline_has_the_figures_of_the_benchmarks():
    readme, page = ((shown.ROOT / name).read_text() for name in ("README.md", "docs/benchmarks.md"))
    table = rows(page, "<!-- peers: photographs -->", "<!-- end of peers: photographs -->")
    headline = " ".join(readme[: readme.index("## Three stories")].split())
    ours = next(row for name, row in table.items() if name.startswith("tiering lmdb"))[1].split(" ")[0]
    plain = float(table["plain files"][2].split(" ")[0])
    others = [float(row[2].split(" ")[0]) for name, row in table.items() if name.startswith(tuple(TOOLS.values()))]
    share = re.search(r"cold epochs from LMDB reach (\d+)% of it", page)[1]
    assert f"**{ours} images/s, cold" in headline
    assert f"{share} % of what fio reads" in headline
    assert f"{plain:.1f} times plain files" in headline
    assert f"{min(others):.1f} to {max(others):.1f} times the other loaders" in headline
