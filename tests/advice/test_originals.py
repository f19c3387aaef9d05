"""The original files beside packed stores and copies: kept, and paid for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.advice.profiles import TIERS, dataset, everything
from tiering.advice.catalog import load_catalog
from tiering.advice.job import Job
from tiering.advice.recommend import recommend
from tiering.errors import UsageError

PHOTOS = dataset(9_000_000, 10**12)
HERE = [TIERS["nvme"], TIERS["nfs"], TIERS["object"]]
STORAGE = PHOTOS.bytes / 1e9


def advice(**changed):
    return recommend(PHOTOS, tiers=HERE, current="nfs", job=Job(decode=False, samples_per_s=40_000, **changed))


def test_a_copy_pays_for_the_files_it_is_made_from_where_they_are_cheapest():
    found = advice(nodes=4)
    copies = next(option for option in everything(found) if option.tier == "nvme")
    assert copies.originals_tier == "object"
    assert copies.originals_usd == pytest.approx(STORAGE * 0.023)
    assert copies.monthly_usd == pytest.approx(copies.bill.total + copies.originals_usd)
    # Reading them from the share is free; writing each to the bucket is not.
    assert copies.move_usd == pytest.approx(PHOTOS.files / 1000 * 0.005)
    assert any("cheapest to keep on object store" in each.text for each in found.assumptions)


def test_originals_stay_where_they_are_or_are_gone_where_that_is_asked_for():
    stay, drop = (advice(originals=rule) for rule in ("stay", "drop"))
    kept = next(option for option in everything(stay) if option.tier == "nvme")
    assert (kept.originals_tier, kept.originals_usd) == ("nfs", pytest.approx(300.0, rel=0.05))
    for option in everything(drop):
        assert (option.originals_tier, option.originals_usd) == (None, 0.0)


@pytest.mark.parametrize("rule", ["cheapest", "stay", "drop"])
def test_files_that_are_served_themselves_have_no_second_bill(rule):
    found = advice(originals=rule)
    for option in everything(found):
        if option.stays(found.baseline):
            assert option.originals_usd == 0
    assert found.baseline.originals_usd == 0


def test_an_unknown_rule_names_those_there_are():
    with pytest.raises(UsageError, match="cheapest, stay, drop"):
        Job(originals="gone")


def test_originals_that_are_kept_for_some_days_pay_for_these_days():
    short, whole = (advice(originals="stay", kept_days=days) for days in (3, None))
    few, month = (next(option for option in everything(found) if option.tier == "nvme") for found in (short, whole))
    assert few.originals_usd == pytest.approx(month.originals_usd * 3 / 30.4375)
    assert few.bill.storage == pytest.approx(month.bill.storage * 3 / 30.4375)


def test_originals_of_a_few_days_do_not_move_to_an_archive_that_bills_ninety():
    tiers = [*HERE, TIERS["object-archive"]]
    job = Job(decode=False, samples_per_s=40_000, kept_days=40)
    found = recommend(PHOTOS, tiers=tiers, current="object", job=job)
    assert {option.originals_tier for option in everything(found)} <= {None, "object"}


def test_a_store_and_the_files_beside_it_need_room_for_both():
    large = dataset(90_000_000, 10**13)
    job = Job(decode=False, samples_per_s=1e6)
    found = recommend(large, tiers=[TIERS["nvme"]], current="nvme", job=job)
    assert {option.format for option in everything(found)} == {"folder"}
    assert any("no room" in line and "nvme" in line for line in found.dropped)
    without = recommend(large, tiers=[TIERS["nvme"]], current="nvme", job=replace(job, originals="drop"))
    assert without.choice.format == "lmdb"


def test_a_store_and_the_files_beside_it_share_what_is_bought_at_least():
    lustre = next(tier for tier in load_catalog(cloud="aws") if tier.name == "aws-fsx-lustre")
    small = dataset(4_500_000, 5 * 10**11)
    job = Job(decode=False, samples_per_s=4000, originals="stay")
    found = recommend(small, tiers=[lustre], current=lustre.name, job=job)
    packed = [option for option in everything(found) if option.format == "zarr" and not option.provisioned]
    assert packed
    for option in packed:
        # Both fit into the 1.2 TiB that are bought at least.
        assert (option.originals_tier, option.originals_usd) == (lustre.name, 0)
        assert option.monthly_usd == pytest.approx(174.0)


def test_on_a_disk_of_a_node_both_share_what_is_bought_at_least_as_well():
    disk = next(tier for tier in load_catalog(cloud="google") if tier.name == "gcp-local-ssd")
    for nodes in (1, 4):
        job = Job(nodes=nodes, decode=False, originals="stay")
        found = recommend(dataset(14_758, 158_385_827), tiers=[disk], current=disk.name, job=job)
        packed = [option for option in everything(found) if option.format == "lmdb"]
        assert packed
        for option in packed:
            assert option.originals_usd == 0
            assert option.monthly_usd == pytest.approx(found.baseline.monthly_usd)
