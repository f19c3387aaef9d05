"""The model's evaluation as HTML, and its card."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from tiering.reporting.model_card import model_card
from tiering.reporting.model_page import write_model_page
from tiering.workload.classifier import shipped
from tiering.workload.training.evaluation import Evaluation, FamilyRow, KindRow
from tiering.workload.training.reliability import Bin

ROOT = Path(__file__).parents[2]
EVALUATION = Evaluation(
    figures={},
    reliability=[Bin(40, 0.95, 0.9), Bin(10, 0.6, 0.7)],
    without=[Bin(50, 0.8, 0.5)],
    families=[FamilyRow("shuffled_files", "re-read-heavy", 75, 60, 0), FamilyRow("own <b>&\x1b[2J", "mixed", 5, 4, 1)],
    kinds=[KindRow("deep_learning", 400, 0.7, 0.9, 0.75, 3), KindRow("mpi", 0, float("nan"), float("nan"), 0.0, 0)],
)


def test_a_page_has_both_diagrams_and_a_row_for_each_family_and_kind(tmp_path):
    write_model_page(EVALUATION, tmp_path / "model.html")
    page = (tmp_path / "model.html").read_text()
    assert "Reliability with evidence of programs: 50 forecasts, expected calibration error 0.060" in page
    assert "Reliability without: 50 forecasts, expected calibration error 0.300" in page
    assert page.count("<circle") == 3
    assert page.count("<tr>") == 2 + 2 + 2
    assert '<td class="bad">1</td>' in page
    HTMLParser().feed(page)


def test_names_from_files_are_text_in_the_page(tmp_path):
    write_model_page(EVALUATION, tmp_path / "model.html")
    page = (tmp_path / "model.html").read_text()
    assert "own &lt;b&gt;&amp;" in page
    assert "\x1b" not in page
    assert "default-src 'none'" in page


def test_the_card_in_the_documentation_is_that_of_the_model_that_ships():
    """Make it again: tiering model card -o docs/reference/model.md."""
    assert (ROOT / "docs" / "reference" / "model.md").read_text() == model_card(shipped())


def test_every_figure_of_the_card_is_filled_in():
    assert re.findall(r"\$[a-z_{]+", model_card(shipped())) == []
    assert "unknown" not in re.sub(r"unknown positions|of unknown", "", model_card(shipped())).split("## How well")[1]
