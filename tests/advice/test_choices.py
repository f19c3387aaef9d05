"""What is chosen, and what the advice says of it: blocks, borders, provisioned speed, headroom, unread data, offers."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from tests.advice.profiles import IMAGENET, TIERS, dataset, everything
from tiering.advice.answer import answer
from tiering.advice.catalog import load_catalog
from tiering.advice.constraints import Limits
from tiering.advice.cpu_costs import typical_costs
from tiering.advice.dataset_sizes import sizes_of
from tiering.advice.job import Job
from tiering.advice.ranking import total_usd
from tiering.advice.recommend import recommend
from tiering.errors import UsageError
from tiering.units import MONTH_SECONDS

FIVE_TB = dataset(45_000_000, 5 * 10**12)
AWS = {tier.name: tier for tier in load_catalog(cloud="aws")}


def test_the_answer_says_what_to_put_where_what_it_costs_and_what_it_gains():
    tiers = [TIERS["nvme"], TIERS["nfs"]]
    job = Job(epochs=2, decode=False, nodes=8, samples_per_s=1e6, originals="drop")
    said = recommend(FIVE_TB, tiers=tiers, current="nfs", job=replace(job, hour_usd=50.0)).answer
    assert said.startswith("Leave the 5 TB where it is, behind a cache of ")
    assert " instead of " in said
    assert "saves" in said
    assert "node hours a run." in said
    copies = recommend(FIVE_TB, tiers=tiers, current="nfs", job=replace(job, epochs=90, nodes=1, hour_usd=0.0)).answer
    assert copies.startswith("Put the 5 TB on local NVMe SSD as ")


def test_slow_storage_is_read_in_blocks_and_fast_storage_is_not():
    found = recommend(IMAGENET, job=Job(decode=False))
    assert {option.order for option in everything(found) if option.tier in {"nvme", "sata-ssd"}} == {"global"}
    blocks = [option for option in everything(found) if option.order == "block"]
    assert blocks
    assert all(option.format != "folder" and 'shuffle="block"' in option.reason for option in blocks)


def test_a_tier_without_headroom_is_warned_of_where_another_has_some():
    tiers = [TIERS["nvme"], TIERS["nfs"]]
    job = Job(decode=False, epochs=50, samples_per_s=20.0)
    tiff = dataset(108_932, 108_932 * 45_900_000)
    found = recommend(tiff, tiers=tiers, current="nfs", job=job)
    crowded = next(option for option in everything(found) if (option.tier, option.kind) == ("nfs", "shared"))
    assert 0.8 < crowded.busy < 1
    assert "busy 8" in crowded.warnings[0]
    assert "nvme" in {found.choice.tier, found.choice.cache_tier}
    assert found.choice.warnings == ()
    alone = recommend(tiff, tiers=tiers[1:], current="nfs", job=job)
    assert alone.choice.warnings == ()


def test_reading_across_a_border_pays_for_it_and_a_copy_beside_the_nodes_does_not():
    bucket = [AWS["aws-s3-standard"]]
    job = Job(epochs=10, decode=False, reads_from="other-region", samples_per_s=1e9)
    found = recommend(FIVE_TB, tiers=bucket, current="aws-s3-standard", job=job)
    egress = 10 * FIVE_TB.bytes / 2**30 * AWS["aws-s3-standard"].egress_region_price
    assert found.baseline.remote
    assert found.baseline.bill.egress == pytest.approx(egress)
    beside = [option for option in everything(found) if not option.remote]
    assert beside
    for option in beside:
        assert option.bill.egress == 0
        assert option.move_usd >= egress / 10
    internet = recommend(FIVE_TB, tiers=bucket, current="aws-s3-standard", job=replace(job, reads_from="internet"))
    assert all(option.remote for option in everything(internet))


def test_speed_that_is_for_sale_is_shown_with_and_without():
    found = recommend(
        FIVE_TB, tiers=[AWS["aws-ebs-gp3"]], current="aws-ebs-gp3", current_format="lmdb",
        job=Job(decode=False, samples_per_s=7000),
    )  # fmt: skip
    assert found.choice.provisioned
    assert found.choice.bill.provisioned > 0
    assert "bought with the speed that the job needs" in found.choice.reason
    assert any(not option.provisioned for option in (*everything(found), found.baseline))


def test_data_that_is_not_read_goes_where_its_bill_is_lowest_the_move_included():
    cold = Job(decode=False, runs_per_month=0, originals="drop")
    large = recommend(dataset(10**6, 10**14), current="object", job=cold)
    assert (large.choice.tier, large.choice.by_rule) == ("object-archive", True)
    assert large.choice.move_usd == pytest.approx(10**6 / 1000 * 0.02)
    small = recommend(dataset(10**9, 10**13), current="object", job=replace(cold, originals="stay"))
    assert small.choice.tier == "object"


def test_limits_of_single_files_and_of_slow_reads_drop_what_breaks_them():
    plain = recommend(IMAGENET, job=Job(), limits=Limits(single_files=True))
    assert {option.format for option in everything(plain)} == {"folder"}
    quick = recommend(IMAGENET, job=Job(), limits=Limits(read_p99_s=5e-3))
    assert all(option.read_p99_s <= 5e-3 for option in everything(quick))
    with pytest.raises(UsageError, match=r"read_p99_s.*at best"):
        recommend(IMAGENET, job=Job(), limits=Limits(read_p99_s=1e-9))


def test_where_decoding_limits_it_the_advice_says_what_helps_and_by_how_much():
    found = recommend(IMAGENET, tiers=[TIERS["nvme"]], job=Job(cpus=8, samples_per_s=20_000))
    said = " ".join(found.notes)
    assert "Decoding limits it to" in said
    assert "Stores made for training would be quicker: jpeg-400" in said
    assert "cores on each node, with a thread each, would keep up with the training job" in said
    # Threads divide typical decoding; only a measured share that they do not divide makes processes worth it.
    assert "loader processes" not in said
    encoded = recommend(IMAGENET, tiers=[TIERS["nvme"]], job=Job(cpus=8, decode=False))
    assert "Decoding limits it" not in " ".join(encoded.notes)


def test_where_threads_share_a_lock_more_processes_are_offered():
    costs = typical_costs(sizes_of(IMAGENET))
    locked = replace(costs, decode=replace(costs.decode, serial=0.5))
    found = recommend(IMAGENET, tiers=[TIERS["nvme"]], job=Job(cpus=8), costs=locked)
    (offer,) = (note for note in found.notes if "loader processes of one thread each" in note)
    given = float(offer.split("give ")[1].rstrip(".").replace(",", ""))
    spread = recommend(IMAGENET, tiers=[TIERS["nvme"]], job=Job(cpus=8, processes=8, threads=1), costs=locked)
    same = next(option for option in everything(spread) if option.format == found.choice.format)
    assert given == pytest.approx(same.samples_per_s, rel=0.01)
    assert given > 2 * found.choice.samples_per_s


def test_checkpoints_by_time_stretch_the_epochs_of_every_option():
    job = Job(decode=False, samples_per_s=1000, checkpoint_bytes=500 * 10**9, checkpoint_every_s=1800)
    found = recommend(FIVE_TB, tiers=[TIERS["nvme"], TIERS["nfs"]], current="nfs", job=job)
    nvme = next(option for option in everything(found) if option.tier == "nvme")
    assert nvme.checkpoint_fraction == pytest.approx(500e9 / 3e9 / 1800)
    assert nvme.samples_per_s == pytest.approx(1000 * (1 - nvme.checkpoint_fraction))
    assert nvme.stall_fraction == pytest.approx(nvme.checkpoint_fraction)


def test_what_helps_is_predicted_behind_the_caches_that_the_choice_has():
    tiers = [TIERS["nvme"], TIERS["object"]]
    for ram in (0, 64 << 30):
        job = Job(cpus=64, threads=32, ram=ram)
        found = recommend(IMAGENET, tiers=tiers, current="object", job=job, limits=Limits(single_files=True))
        assert found.choice.bottleneck == "decoding"
        assert found.choice.kind == "cached"
        offered = next(note for note in found.notes if note.startswith("Decoding limits it"))
        rates = [int(number.replace(",", "")) for number in re.findall(r"[0-9][0-9,]{3,}", offered)]
        assert len(rates) == 2
        assert rates[0] <= rates[1], offered


def test_as_many_cores_as_the_advice_names_keep_up_with_the_job():
    def advised(cpus):
        return recommend(IMAGENET, tiers=[TIERS["nvme"]], job=Job(cpus=cpus, ram=64 << 30, samples_per_s=20_000))

    cores = int(re.search(r"About ([0-9]+) cores on each node", " ".join(advised(8).notes))[1])
    assert advised(cores).choice.stall_fraction <= 0.05


def test_a_lifecycle_rule_moves_objects_to_colder_classes_only():
    cold = recommend(IMAGENET, current="object-archive", job=Job(runs_per_month=0))
    warmer = [option for option in everything(cold) if option.tier in {"object", "object-infrequent"}]
    assert warmer
    for option in warmer:
        assert not option.by_rule
        if option.format == "folder":
            # Each GB that leaves the archive is charged.
            assert option.move_usd > IMAGENET.bytes / 1e9 * 0.03


def test_a_move_by_a_rule_says_what_it_costs():
    large = dataset(IMAGENET.files, 10 * IMAGENET.bytes)
    cold = recommend(large, current="object", job=Job(runs_per_month=0))
    assert cold.choice.by_rule
    assert cold.conversion == "A lifecycle rule of the bucket moves it, for 25.62 USD once; nothing has to be read."


def test_a_cache_that_is_kept_for_some_days_pays_for_these_days():
    tiers = [TIERS["nvme"], TIERS["object"]]

    def cache(days):
        found = recommend(IMAGENET, tiers=tiers, current="object", job=Job(decode=False, kept_days=days))
        return next(option.bill.cache for option in everything(found) if option.cache_local)

    assert cache(None) == pytest.approx(IMAGENET.bytes / 1e9 * 0.08)
    assert cache(3) == pytest.approx(cache(None) * 3 / 30.4375)


def test_what_is_paid_once_does_not_buy_a_dearer_month_for_good():
    found = recommend(dataset(10**10, 10**15), current="object", job=Job(decode=False, nodes=64, ram=64 << 30))
    assert found.choice.monthly_usd < 100_000


def test_runs_that_do_not_fit_into_the_month_have_the_bills_of_as_many_months_as_they_take():
    found = recommend(IMAGENET, current="object", job=Job(ram=64 << 30, cpus=64, runs_per_month=1000))
    assert "1,000 runs" in found.criterion
    slow = found.baseline
    months = 1000 * slow.run_s(found.epochs) / MONTH_SECONDS
    reads = 1000 * found.epochs * IMAGENET.files / 1000 * TIERS["object"].request_price
    storage = months * IMAGENET.bytes / 1e9 * TIERS["object"].price
    waiting = 1000 * slow.run_s(found.epochs) / 3600 * 2.0
    assert total_usd(slow, found.epochs, 2.0, 1000) == pytest.approx(reads + storage + waiting, rel=1e-3)


@pytest.mark.parametrize(
    ("epoch_s", "said"),
    [(3636.4, "saves 1 hour a run"), (3672.8, "saves 2 hours a run"), (3564.0, "takes 1 more hour a run")],
)
def test_one_hour_is_no_hours(epoch_s, said):
    there = recommend(IMAGENET, tiers=[TIERS["nvme"]], job=Job(epochs=100)).choice
    there = replace(there, first_epoch_s=3600.0, steady_epoch_s=3600.0, move_s=0.0)
    now = replace(there, tier="nfs", first_epoch_s=epoch_s, steady_epoch_s=epoch_s)
    assert answer(there, now, IMAGENET.bytes, 100).endswith(f"{said}.")


@pytest.mark.parametrize("known", [{"samples_per_s": 1e5}, {"hour_usd": 2.0}])
def test_a_cheaper_month_that_costs_more_to_get_to_than_it_saves_is_no_better(known):
    many = dataset(10**9, 2 * 10**14)
    found = recommend(
        many, current="object",
        job=Job(epochs=1, decode=False, runs_per_month=0.01, kept_days=60, **known), limits=Limits(single_files=True),
    )  # fmt: skip
    # A rule moves 10^9 objects to the archive for 20,000 USD, and two months there save 7,300.
    assert found.choice.tier == "object"


def test_data_that_is_not_read_is_not_advised_of_with_a_warning():
    tiny = dataset(36_035_227, 5_113_815_368)
    found = recommend(tiny, job=Job(ram=1 << 30, cpus=64, decode=False, runs_per_month=0, originals="drop"))
    assert found.choice.warnings == ()


@pytest.mark.parametrize("rate", [None, 10.0])
@pytest.mark.parametrize("home", ["nfs", "object"])
def test_a_few_images_stay_where_they_are(home, rate):
    for count in (1, 100):
        few = dataset(count, count * 100_000)
        found = recommend(few, current=home, job=Job(ram=64 << 30, cpus=64, samples_per_s=rate, originals="stay"))
        assert found.choice.tier == home


def test_data_that_is_not_read_crowds_no_tier_and_is_not_packed():
    large = dataset(90_561_667, 128_262_975_931_210)
    job = Job(cpus=8, nodes=64, samples_per_s=4900.0, runs_per_month=0, kept_days=45, network=1.25e9, hour_usd=98.0)
    found = recommend(large, current="object-archive", job=job)
    assert found.choice.stays(found.baseline)
    assert "spread over 1.5 months" in found.criterion


def test_a_copy_beside_the_nodes_is_not_left_where_it_is():
    bucket = AWS["aws-s3-standard"]
    job = Job(decode=False, reads_from="other-region", nodes=8, samples_per_s=20_000, ram=64 << 30)
    plain = recommend(IMAGENET, tiers=[bucket], current=bucket.name, job=job, limits=Limits(single_files=True))
    assert not plain.choice.remote
    assert plain.answer.startswith("Put the 140 GB on Amazon S3 Standard beside the nodes as plain files")
    there = replace(plain.choice, remote=True)
    assert answer(there, plain.baseline, IMAGENET.bytes, 100).startswith("Leave the 140 GB where it is")


def test_hours_in_which_the_job_works_do_not_hide_what_storage_costs():
    job = Job(decode=False, nodes=8, ram=256 << 30, cpus=96, runs_per_month=30, samples_per_s=114_286, hour_usd=55.04)
    found = recommend(FIVE_TB, current="nfs", job=job)
    least = min(option.monthly_usd for option in everything(found) if (option.stall_fraction or 0) < 0.01)
    assert found.choice.stall_fraction < 0.01
    assert found.choice.monthly_usd < 1.5 * least


def test_where_options_cost_and_take_the_same_the_data_stays_on_its_tier():
    small = dataset(20_000, 118 * 10**6)
    for tier in ("nvme", "sata-ssd", "hdd"):
        found = recommend(small, current=tier, job=Job(ram=12 * 10**9, cpus=2))
        assert found.choice.tier == tier
