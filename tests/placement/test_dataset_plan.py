"""Datasets are placed as wholes: hot ones on fast tiers, cold ones on cheap ones, and jobs share tiers fairly."""

from __future__ import annotations

import tomllib

import pytest

import tiering
from tests.conftest import FIXTURES
from tiering.advice.catalog import load_catalog
from tiering.errors import UsageError
from tiering.placement.current_tiers import current_tiers
from tiering.placement.job_heat import DatasetHeat, JobHeat
from tiering.placement.survey import SurveyedDataset

DAY = 86400
NOW = 1_790_000_000
TB = 10**12


def dataset(path, size, *, files=None, read_days=None, changed_days=400, access_times="once a day", file_system="ext4"):
    return SurveyedDataset(
        path=path,
        kind="class folders",
        files=files or max(1, size // 10**6),
        bytes=size,
        images=files or max(1, size // 10**6),
        folders=10,
        changed=NOW - changed_days * DAY,
        read=NOW - (changed_days if read_days is None else read_days) * DAY,
        file_system=file_system,
        mount="/data",
        access_times=access_times,
    )


def job(trace, reads, *, duration=3600.0, processes=1.0, block=2**20):
    """A job that reads this many bytes of each dataset in one run."""
    heats = tuple(
        DatasetHeat(
            path=path,
            files=1,
            opens=size // block,
            reads=size // block,
            bytes_read=size // block * block,
            writes=0,
            bytes_written=0,
        )
        for path, size in reads.items()
    )
    return JobHeat(
        trace=trace, duration=duration, processes=processes, datasets=heats, elsewhere_files=0, elsewhere_bytes=0
    )


def surveyed(*datasets, jobs=()):
    return tiering.Survey(
        roots=("/data",),
        taken=NOW,
        datasets=datasets,
        outside_files=0,
        outside_bytes=0,
        unreadable=0,
        unreadable_examples=(),
        jobs=jobs,
    )


def on(name):
    return lambda dataset, tiers: name


def test_a_hot_dataset_goes_to_nvme_and_a_cold_one_to_the_archive():
    found = surveyed(
        dataset("/data/cold", 20 * TB),
        dataset("/data/hot", TB),
        jobs=[job("train.strace", {"/data/hot": 10 * TB}, duration=12 * 3600, processes=8)],
    )
    month = tiering.Month(runs_per_month=20, hour_usd=50)
    plan = tiering.place_datasets(
        found, {"nvme": 2 * TB, "nfs": None, "object-archive": None}, month=month, current=on("nfs")
    )
    placed = {each.path: each for each in plan.datasets}
    assert (placed["/data/hot"].to_tier, placed["/data/cold"].to_tier) == ("nvme", "object-archive")
    assert (placed["/data/hot"].evidence, placed["/data/cold"].evidence) == ("trace", "access times")
    assert placed["/data/hot"].read_bytes == pytest.approx(20 * 10 * TB, rel=1e-5)
    first, second = plan.moves
    assert (first.path, first.from_tier, first.to_tier) == ("/data/cold", "nfs", "object-archive")
    # 20 TB at 0.30 USD against 0.004 USD the GB.
    assert first.saved_usd == pytest.approx(20_000 * (0.30 - 0.004), rel=0.01)
    assert (first.won_s, first.bytes) == (0, 20 * TB)
    assert second.won_s > 0
    assert second.gain_usd == pytest.approx(second.saved_usd + second.won_s / 3600 * 50)
    assert any("Known only by access times" in note for note in plan.summary.notes)


def test_access_times_bound_how_cold_a_dataset_is():
    found = surveyed(
        dataset("/data/lately", TB, read_days=2),
        dataset("/data/never", TB),
        dataset("/data/quarter", TB, read_days=91.3125),
        dataset("/data/unknown", TB, access_times="not kept"),
    )
    plan = tiering.place_datasets(found, {"nfs": None})
    read = {each.path.rpartition("/")[2]: each.read_bytes / TB for each in plan.datasets}
    assert read == {
        "lately": pytest.approx(1),
        "never": 0,
        "quarter": pytest.approx(1 / 3, rel=1e-3),
        "unknown": pytest.approx(1),
    }
    assert [each.evidence for each in plan.datasets] == ["access times"] * 3 + ["nothing"]
    assert any("taken to be read once a month: 1 dataset (/data/unknown)" in note for note in plan.summary.notes)
    # No job is known to wait for these reads.
    assert all(each.waiting_h == 0 for each in plan.datasets)


def test_a_dataset_that_is_read_is_not_archived_for_its_low_price():
    found = surveyed(dataset("/data/lately", TB, read_days=2), dataset("/data/never", TB))
    plan = tiering.place_datasets(found, {"object": None, "object-archive": None}, current=on("object"))
    assert [each.to_tier for each in plan.datasets] == ["object", "object-archive"]
    assert [move.path for move in plan.moves] == ["/data/never"]


def test_a_move_that_pays_back_too_late_is_not_made():
    # 10 kB an object: writing every object once costs more than a year on the dearer class.
    found = surveyed(dataset("/data/thumbnails", TB, files=10**8))
    plan = tiering.place_datasets(found, {"object": None, "object-infrequent": None}, current=on("object"))
    assert plan.datasets[0].to_tier == "object"
    assert plan.moves == ()


def test_jobs_share_a_filer_as_the_scenario_says():
    scenarios = tomllib.loads((FIXTURES / "advice/scenarios.toml").read_text())["scenario"]
    (scenario,) = (each for each in scenarios if each["name"] == "hpc-four-jobs-one-filer")
    rates = scenario["inputs"]["jobs_bytes_per_s"]
    found = surveyed(
        *(dataset(f"/data/{number}", TB) for number in range(4)),
        jobs=[job(f"job{n}", {f"/data/{n}": rate * 3600}, block=32 * 2**20) for n, rate in enumerate(rates)],
    )
    plan = tiering.place_datasets(found, {scenario["inputs"]["tiers"][0]: None})
    answer = scenario["answer"]
    assert [share.job for share in plan.jobs] == ["job0", "job1", "job2", "job3"]
    for share, rate, low, high in zip(
        plan.jobs, rates, answer["job_bytes_per_s_low"], answer["job_bytes_per_s_high"], strict=True
    ):
        assert share.asked == pytest.approx(rate, rel=1e-3)
        assert low <= share.got <= high * 1.001
        assert share.waiting == pytest.approx(1 - share.got / share.asked)
    assert any("No plan keeps all tiers below 80 % busy" in note for note in plan.summary.notes)


def test_a_cache_is_bought_for_a_dataset_that_stays_on_the_filer():
    # NVMe is in the catalog but not among the capacities, so it can only be a cache.
    found = surveyed(
        dataset("/data/hot", TB, files=10**7),
        dataset("/data/cold", TB),
        jobs=[job("train", {"/data/hot": 20 * TB}, duration=24 * 3600, processes=4, block=10**5)],
    )
    month = tiering.Month(runs_per_month=10, hour_usd=100)
    plan = tiering.place_datasets(found, {"nfs": None}, month=month, current=on("nfs"))
    (cache,) = plan.caches
    assert (cache.origin, cache.datasets, cache.bytes) == ("nfs", ("/data/hot",), TB)
    assert cache.won_usd > cache.monthly_usd > 0
    assert cache.won_usd == pytest.approx(cache.won_s / 3600 * 100)


def test_where_datasets_are_now_comes_from_the_flags_or_the_mount_table():
    catalog = load_catalog()
    named = current_tiers({"/data/a": "nvme", "/data": "hdd"})
    assert named(dataset("/data/a", 1), catalog) == "nvme"
    assert named(dataset("/data/ab", 1), catalog) == "hdd"
    assert named(dataset("/dev/shm", 1), catalog) == "dram"
    assert named(dataset("/nowhere", 1), catalog) is None
    assert current_tiers({"": "nfs"})(dataset("/other", 1), catalog) == "nfs"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"capacities": {"tape": None}}, "must be one of"),
        ({"capacities": {}}, "at least one tier"),
        ({"capacities": {"nvme": 10**9}}, "10 TB to place"),
        ({"most_busy": 0.0}, "^most_busy"),
        ({"current": on("tape")}, "must be one of"),
    ],
)
def test_impossible_requests_are_refused(change, said):
    found = surveyed(dataset("/data/a", 10 * TB))
    with pytest.raises(UsageError, match=said):
        tiering.place_datasets(found, **({"capacities": {"nfs": None}} | change))


def test_a_survey_without_datasets_is_refused():
    with pytest.raises(UsageError, match="the survey has no dataset"):
        tiering.place_datasets(surveyed(), {"nfs": None})
