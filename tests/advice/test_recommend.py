"""Advice that fits the data, the workload and the hardware."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.advice.profiles import GIB, IMAGENET, PETABYTES, TIERS, dataset, everything, verdict
from tiering.advice.constraints import Limits
from tiering.advice.dataset_sizes import sizes_of
from tiering.advice.job import Job
from tiering.advice.ranking import pareto, total_usd
from tiering.advice.recommend import recommend
from tiering.advice.stored_size import stored_bytes
from tiering.advice.wear import life_years
from tiering.errors import UsageError

WORKLOADS = ["re-read-heavy", "write-heavy", "read-once", "mixed", "inconclusive"]
datasets = st.builds(lambda files, mean: dataset(files, files * mean), st.integers(1, 10**9), st.integers(1, 10**8))


def test_training_gets_a_packed_store_on_local_flash():
    tiers = [TIERS["nvme"], TIERS["hdd"], TIERS["nfs"]]
    found = recommend(IMAGENET, tiers=tiers, current="nfs", job=Job(ram=16 * GIB, decode=False, threads=8, hour_usd=20))
    assert (found.choice.tier, found.choice.format, found.choice.codec) == ("nvme", "lmdb", "none")
    assert found.choice.speedup > 5
    assert (found.baseline.tier, found.baseline.format, found.baseline.speedup) == ("nfs", "folder", 1.0)
    run = found.choice.first_epoch_s + 99 * found.choice.steady_epoch_s
    baseline = found.baseline.first_epoch_s + 99 * found.baseline.steady_epoch_s
    assert found.choice.speedup == pytest.approx(baseline / run)
    assert all(option.reason for option in (*everything(found), found.baseline))
    assert any("Without a trace" in line for line in found.notes)


def test_petabytes_go_neither_into_memory_nor_onto_a_disk_that_is_too_small():
    found = recommend(PETABYTES, job=Job(ram=64 * GIB, threads=64))
    assert found.choice.tier.startswith(("object", "parallel-fs"))
    assert {option.tier for option in everything(found)}.isdisjoint({"dram", "nvme", "sata-ssd", "hdd", "nfs"})
    assert all(option.cache_local <= TIERS["nvme"].capacity for option in everything(found))


def test_a_thousand_samples_are_no_reason_for_anything_grand():
    found = recommend(dataset(1000, 10**6), job=Job(ram=16 * GIB))
    assert found.choice.cache_ram == found.choice.cache_local == 0
    assert found.choice.first_epoch_s < 1
    assert found.choice.monthly_usd < 0.01
    assert found.choice.hit_ratio == 1
    assert all(option.cache_ram <= 10**6 for option in everything(found))


def test_write_heavy_data_is_not_packed_and_its_writes_are_taken_by_flash():
    found = recommend(IMAGENET, verdict=verdict("write-heavy"))
    assert all(option.format == "folder" for option in everything(found))
    assert found.choice != recommend(IMAGENET).choice
    assert found.choice.tier == "hdd"
    assert found.choice.cache_tier == "nvme"
    assert "write-back" in found.choice.cache
    for word in ("do not pack", "drive write a day"):
        assert word in found.choice.reason
    assert not any(option.tier.startswith("object") for option in everything(found))


def test_data_that_is_read_once_is_streamed_where_it_lies_and_not_cached():
    found = recommend(IMAGENET, verdict=verdict("read-once"), current="nfs", job=Job(ram=16 * GIB))
    assert (found.choice.tier, found.choice.format, found.choice.cache) == ("nfs", "folder", "none")
    assert found.choice.move_s == 0
    assert found.epochs == 1
    assert all(option.format == "folder" and option.hit_ratio == 0 for option in everything(found))
    assert "stream" in found.choice.reason


def test_half_an_epoch_is_no_reason_to_stream_and_not_to_cache():
    doubtful = verdict("read-once", whole=False, notes=["The whole run is not in this trace: it was killed by SIGINT."])
    found = recommend(IMAGENET, verdict=doubtful, current="nfs", job=Job(ram=16 * GIB))
    assumed = recommend(IMAGENET, current="nfs", job=Job(ram=16 * GIB))
    assert (found.choice, found.epochs) == (assumed.choice, assumed.epochs)
    assert any("a first epoch looks the same" in line for line in found.notes)
    assert any("killed by SIGINT" in line for line in found.notes)


def test_advice_passes_on_the_doubts_of_the_verdict():
    found = recommend(IMAGENET, verdict=verdict("read-once", notes=["It may be one epoch of several."]), current="nfs")
    assert "It may be one epoch of several." in found.notes


@pytest.mark.parametrize("workload", ["inconclusive", "mixed"])
def test_an_unsure_verdict_gives_advice_with_a_caveat(workload):
    found = recommend(IMAGENET, verdict=verdict(workload), job=Job(ram=16 * GIB))
    assert found.choice == recommend(IMAGENET, job=Job(ram=16 * GIB)).choice
    assert any(workload in line and "only if the data is read again" in line for line in found.notes)
    assert found.workload == workload


def test_uncompressed_pictures_may_be_compressed_and_encoded_ones_may_not():
    raw = recommend(dataset(10**5, 10**12, ("TIFF", "BMP", "JPEG")))
    assert "zstd" in {option.codec for option in everything(raw)}
    assert {option.codec for option in everything(recommend(IMAGENET))} == {"none"}


@example(
    dataset(10**8, 10**16), "write-heavy", 0, 1
)  # only object stores hold it, and those cannot be written in place
@given(datasets, st.sampled_from([None, *WORKLOADS]), st.integers(0, 10**12), st.integers(1, 10**5))
def test_whatever_is_asked_the_advice_is_possible(profile, workload, ram, epochs):
    job = Job(epochs=epochs, threads=4, ram=ram)
    if workload == "write-heavy" and stored_bytes(sizes_of(profile), "folder") > TIERS["parallel-fs"].capacity:
        with pytest.raises(UsageError, match="more than any"):
            recommend(profile, verdict=verdict(workload), job=job)
        return
    found = recommend(profile, verdict=verdict(workload) if workload else None, job=job)
    for option in everything(found):
        tier = TIERS[option.tier]
        assert tier.access != "memory"
        assert tier.holds(option.stored)
        if option.format == "lmdb":
            assert tier.mmap_ok
            assert not tier.network
        assert option.cache_ram <= ram
        assert option.speedup > 0
    assert sum(not option.on_frontier for option in found.alternatives) <= 8
    assert found.choice not in found.alternatives
    if workload not in {"write-heavy", "read-once"}:
        lowest = min(total_usd(option, epochs, 2.0) for option in everything(found) if not option.warnings)
        assert total_usd(found.choice, epochs, 2.0) <= lowest + max(1.0, 0.05 * lowest) + 1e-3
        # The baseline may not come out better than the advice: to stay is always among the options.
        stays = total_usd(found.baseline, epochs, 2.0)
        fits = TIERS[found.baseline.tier].holds(profile.bytes + profile.files * 8192)
        assert not fits or total_usd(found.choice, epochs, 2.0) <= stays + max(1.0, 0.05 * stays) + 1e-3


@given(datasets)
def test_nothing_on_the_front_is_beaten(profile):
    options = everything(recommend(profile, job=Job(ram=16 * GIB)))
    front = pareto(options, 100)
    assert front
    for one in front:
        beaten = [o for o in options if o.monthly_usd <= one.monthly_usd and o.run_s(100) < one.run_s(100)]
        assert beaten == []


def test_dearer_waiting_buys_faster_storage():
    cheap, dear = (
        recommend(PETABYTES, job=Job(decode=False, threads=64, hour_usd=hour_usd)).choice
        for hour_usd in (0.0, 10_000.0)
    )
    assert cheap.monthly_usd < dear.monthly_usd
    assert cheap.run_s(100) > dear.run_s(100)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"current": "tape"}, "current"),
        ({"tiers": []}, "catalog"),
        ({"tiers": [TIERS["dram"]]}, "catalog"),
        ({"tiers": [TIERS["nvme"].model_copy(update={"capacity": 1000})]}, "photos"),
    ],
)
def test_what_cannot_be_met_is_refused_by_name(options, where):
    with pytest.raises(UsageError) as caught:
        recommend(IMAGENET, **options)
    assert caught.value.where == where


def test_an_empty_dataset_is_refused():
    with pytest.raises(UsageError, match="expected a dataset with images"):
        recommend(dataset(0, 0))


def test_write_heavy_data_with_nothing_but_object_stores_is_refused():
    with pytest.raises(UsageError, match="expected a tier that holds it"):
        recommend(IMAGENET, verdict=verdict("write-heavy"), tiers=[TIERS["object"]])


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"epochs": 0}, "epochs"),
        ({"threads": 0}, "threads"),
        ({"nodes": 0}, "nodes"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"ram": -1}, "ram"),
        ({"hour_usd": -1.0}, "hour_usd"),
        ({"hour_usd": float("nan")}, "hour_usd"),
        ({"samples_per_s": 0.0}, "samples_per_s"),
    ],
)
def test_an_impossible_job_is_refused_by_name(wrong, where):
    with pytest.raises(UsageError) as caught:
        Job(**wrong)
    assert caught.value.where == where


def test_more_memory_or_a_faster_tier_never_makes_the_fastest_way_slower():
    def fastest(ram=0, tiers=None):
        found = recommend(IMAGENET, tiers=tiers, job=Job(ram=ram, hour_usd=1e6))
        return min(option.steady_epoch_s for option in everything(found))

    times = [fastest(gib * GIB) for gib in (0, 16, 64, 256)]
    assert times == sorted(times, reverse=True)
    quicker = [tier.model_copy(update={"random_bandwidth": tier.random_bandwidth * 2}) for tier in TIERS.values()]
    assert fastest(tiers=quicker) <= fastest()


@given(datasets, st.integers(1, 1000), st.floats(0, 1000))
def test_the_marked_front_is_exactly_what_nothing_beats(profile, epochs, hour_usd):
    found = recommend(profile, job=Job(epochs=epochs, threads=4, ram=16 * GIB, hour_usd=hour_usd))
    shown = everything(found)
    for one in shown:
        beaten = [
            o
            for o in shown
            if (o.monthly_usd < one.monthly_usd and o.run_s(epochs) <= one.run_s(epochs))
            or (o.monthly_usd <= one.monthly_usd and o.run_s(epochs) < one.run_s(epochs))
        ]
        assert not (one.on_frontier and beaten)


def test_lmdb_is_kept_from_network_file_systems_and_its_maps_are_a_warning_on_slow_disks():
    found = recommend(IMAGENET, tiers=[TIERS["nfs"], TIERS["hdd"]], job=Job(decode=False))
    assert any("LMDB on nfs" in line for line in found.dropped)
    slow = [option for option in everything(found) if (option.tier, option.format) == ("hdd", "lmdb")]
    assert slow
    for option in slow:
        if option.order == "global" and option.kind != "cached":
            assert any("is a page fault of 8 ms" in line for line in option.warnings)
            assert option.warnings[0] in option.reason
        else:
            assert option.warnings == ()
    assert all(option.warnings == () for option in everything(found) if option.tier == "nfs")


def test_pixels_larger_than_a_tier_are_no_option_there():
    job = Job(resize=(2000, 2000))
    found = recommend(IMAGENET, job=job, limits=Limits(capacity={"nvme": 10**12}))
    assert ("nvme", "pixels", "none") not in {(o.tier, o.format, o.codec) for o in everything(found)}
    assert any(line.startswith("nvme holds 1 TB") and "of pixels do not fit" in line for line in found.dropped)


def test_images_of_one_shape_may_be_pixels_without_a_resize():
    found = recommend(dataset(10**6, 10**9, shape=(32, 32)), job=Job(ram=16 * GIB, threads=2))
    assert found.choice.format == "pixels"
    encoded = recommend(dataset(10**6, 10**9, shape=(32, 32)), job=Job(ram=16 * GIB, decode=False))
    assert "pixels" not in {option.format for option in everything(encoded)}


def test_checkpoints_that_need_bandwidth_are_sent_elsewhere():
    tape = TIERS["hdd"].model_copy(update={"name": "slow", "title": "a slow disk", "write_bandwidth": 50e6})
    job = Job(decode=False, checkpoint_bytes=100 * 10**9)
    found = recommend(IMAGENET, tiers=[tape, TIERS["nvme"].model_copy(update={"price": 1000.0})], job=job)
    assert found.choice.tier == "slow"
    assert any("A checkpoint of 100 GB takes" in line for line in found.notes)
    assert any("Write it to local NVMe SSD first" in line for line in found.notes)
    small = recommend(IMAGENET, tiers=[tape], job=Job(decode=False, checkpoint_bytes=10**6))
    assert not any("checkpoint" in line for line in small.notes)


def test_conversion_says_when_it_pays_and_staying_what_it_costs():
    found = recommend(IMAGENET, current="nfs", job=Job(ram=16 * GIB, decode=False, threads=8))
    choice, stay = found.choice, found.baseline
    n = choice.pays_back_epochs
    spent = choice.move_s + choice.first_epoch_s + (n - 1) * choice.steady_epoch_s
    assert spent == pytest.approx(stay.first_epoch_s + (n - 1) * stay.steady_epoch_s)
    assert f"pays back after {n:.1f} epochs" in found.conversion
    assert "Doing nothing costs" in found.doing_nothing
    assert f"{stay.monthly_usd:,.2f} USD a month" in found.doing_nothing
    bucket = recommend(IMAGENET, current="object-archive", job=Job(decode=False)).choice
    assert bucket.move_usd == pytest.approx(
        IMAGENET.files / 1000 * 0.01 + IMAGENET.bytes / 1e9 * 0.03 + bucket.bill.once
    )


def test_endurance_is_a_life_in_years():
    assert life_years(TIERS["nvme"], 10**12, 10**12) == 5
    assert life_years(TIERS["nvme"], 10**12, 5 * 10**12) == 1
    assert life_years(TIERS["hdd"], 10**12, 10**12) is None
    found = recommend(IMAGENET, verdict=verdict("write-heavy"), job=Job(written_per_day=70e9))
    assert found.choice.cache_local == 70e9
    assert "The trace writes 70 GB a day: it lasts 5.0 years." in found.choice.reason
    large = dataset(10**6, 20 * 10**12)
    found = recommend(large, verdict=verdict("write-heavy"), job=Job(written_per_day=150e12))
    assert found.choice.cache_local == TIERS["nvme"].capacity
    assert "it lasts 183 days. Take a larger or a write-intensive device." in found.choice.reason
    found = recommend(IMAGENET, verdict=verdict("write-heavy"), job=Job(written_per_day=1e9))
    assert "it lasts 70.0 years." in found.choice.reason


def test_the_advice_is_as_sure_as_the_classifier():
    assert recommend(IMAGENET).confidence is None
    found = recommend(IMAGENET, verdict=verdict("re-read-heavy"))
    assert found.confidence == 0.9
    assert any("probability of 90 %" in line for line in found.notes)


def test_nodes_whose_samples_stay_add_their_caches_up():
    found = recommend(PETABYTES, current="object", job=Job(ram=64 * GIB, epochs=5000, threads=64, decode=False))
    nodes = found.asks.nodes
    assert nodes[0].nodes == 1
    assert nodes[-1].hit_ratio == pytest.approx(1)
    assert nodes[-1].origin_bytes == 0
    for few, many in itertools.pairwise(nodes):
        assert many.hit_ratio > few.hit_ratio
        assert many.epoch_s < few.epoch_s
    assert nodes[-1].cache_bytes * nodes[-1].nodes >= PETABYTES.bytes


def test_a_price_of_egress_that_is_not_known_is_said_and_a_known_one_is_billed():
    tiers = [TIERS["object"].model_copy(update={"egress_region_price": 0.02}), TIERS["object-infrequent"]]
    far, near = (
        recommend(IMAGENET, tiers=tiers, job=Job(decode=False, ram=0, epochs=10, reads_from=where), current="object")
        for where in ("other-region", "same-zone")
    )
    elsewhere = Job(decode=False, ram=0, epochs=10, reads_from="other-region")
    unknown = recommend(IMAGENET, tiers=tiers, job=elsewhere, current="object-infrequent")
    assert any("object-infrequent from another region is not in the catalog" in note for note in unknown.notes)
    # What no option reads from afar needs no price.
    assert not any("not in the catalog" in note for note in (*near.notes, *far.notes))
    assert far.baseline.monthly_usd - near.baseline.monthly_usd == pytest.approx(10 * 140 * 0.02)
