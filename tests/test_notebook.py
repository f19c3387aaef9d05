"""Results show themselves: a few lines of text, an escaped table in a notebook, and a data frame."""

from __future__ import annotations

import pytest

import tiering
from tests.conftest import FIXTURES
from tiering.notebook import html_table

HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J\n&"


@pytest.fixture(scope="module")
def results(photos, tmp_path_factory):
    trace = tiering.profile_trace(next((FIXTURES / "traces").glob("train_loop.strace*")))
    store = tmp_path_factory.mktemp("shown") / "photos.lmdb"
    dataset = tiering.profile_dataset(photos)
    return {
        "Profile": tiering.Profile(dataset=dataset, traces=[trace]),
        "DatasetProfile": dataset,
        "TraceProfile": trace,
        "Verdict": tiering.classify(trace),
        "Recommendation": tiering.recommend(dataset, tiers=tiering.load_catalog()),
        "Manifest": tiering.convert(photos, store, "lmdb"),
    }


NAMES = ["Profile", "DatasetProfile", "TraceProfile", "Verdict", "Recommendation", "Manifest"]


@pytest.mark.parametrize("name", NAMES)
def test_a_result_is_a_few_lines_of_text_and_a_table(results, name):
    result = results[name]
    assert type(result).__name__ == name
    assert 2 <= len(str(result).splitlines()) <= 8
    rows = len(result.summary()[1])
    assert result._repr_html_().count("<tr>") == rows
    assert len(str(result).splitlines()) == rows + 1


def test_hostile_names_are_escaped(results):
    for found in (
        html_table([(HOSTILE, HOSTILE)], HOSTILE),
        results["DatasetProfile"].model_copy(update={"root": HOSTILE, "formats": {HOSTILE: 1}})._repr_html_(),
        results["TraceProfile"].model_copy(update={"source": HOSTILE})._repr_html_(),
    ):
        assert "<img" not in found
        assert "&lt;img src=x onerror=alert(1)&gt;\\x1b[2J\\n&amp;" in found
    text = str(results["TraceProfile"].model_copy(update={"source": HOSTILE}))
    assert "\x1b" not in text
    assert "\\x1b[2J\\n&" in text.splitlines()[0]


def test_secrets_stay_out_of_a_notebook(results):
    address = "s3://key:secret@bucket/photos"
    assert "secret" not in results["DatasetProfile"].model_copy(update={"root": address})._repr_html_()


def test_tables_are_data_frames(results):
    options = results["Recommendation"].to_frame()
    assert options["role"].to_list()[0] == "choice"
    assert options["role"].to_list()[-1] == "baseline"
    assert {"tier", "format", "monthly_usd", "steady_epoch_s"} <= set(options.columns)
    assert results["DatasetProfile"].to_frame()["images"].sum() == 300
    assert results["Verdict"].to_frame()["probability"].sum() == pytest.approx(1)
    curve = results["TraceProfile"].to_frame()
    assert curve.columns == ["cache_bytes", "lru", "static"]
    assert len(curve) == len(results["TraceProfile"].miss_ratio_curve)
    classes = results["Manifest"].to_frame()
    assert classes["name"].to_list() == results["Manifest"].labels
    assert tiering.Recommendation.to_frame.__doc__
