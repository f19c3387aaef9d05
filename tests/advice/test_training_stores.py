"""Stores made for training: compared always, chosen only where they are allowed, and the originals stay."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.advice.profiles import GIB, IMAGENET, TIERS, dataset, everything, verdict
from tiering.advice.constraints import Limits
from tiering.advice.estimate import TrainingRun, kept_as
from tiering.advice.job import Job
from tiering.advice.recommend import recommend
from tiering.advice.saved_advice import Assumptions, advise
from tiering.dataset.field_counts import ProfiledField
from tiering.dataset.reencoded_sample import ReencodedFigures
from tiering.errors import UsageError
from tiering.literals import TrainingFormat
from tiering.reporting.advice import in_words
from tiering.workload.profile import Profile

NAMES = ("jpeg-400", "jpeg-256", "pixels-256")
JOB = Job(samples_per_s=2500.0, cpus=2, threads=2, ram=64 * GIB)


def figures(size, pixels, decode_ratio):
    return ReencodedFigures(
        images=300, size={"value": size, "low": 0.99 * size, "high": 1.01 * size, "sample": 300}, pixels=pixels, area=1.0,
        ssim=0.97, ssim_low=0.93, psnr=36.0, decode_ratio=decode_ratio, make_ratio=2.0,
    )  # fmt: skip


MEASURED: dict[TrainingFormat, ReencodedFigures] = {
    "jpeg-400": figures(40_000, 120_000, 0.4), "jpeg-256": figures(20_000, 49_000, 0.2),
    "pixels-256": figures(196_608, 65_536, 0.1),
}  # fmt: skip
PHOTOS = IMAGENET.model_copy(update={"reencoded": MEASURED})


def test_originals_are_chosen_unless_the_user_allows_more():
    found = recommend(PHOTOS, current="nfs", job=JOB)
    assert all(option.has_originals for option in everything(found))
    assert [form.name for form in found.forms] == ["originals", *NAMES]
    assert [form.allowed for form in found.forms] == [True, False, False, False]
    assert found.forms[0].option == found.choice
    assert any("`reencode` allows them" in line for line in found.notes)


def test_where_they_are_allowed_the_job_waits_no_longer():
    stays, moves = (recommend(PHOTOS, current="nfs", job=job) for job in (JOB, replace(JOB, reencode=True)))
    assert stays.choice.stall_fraction > 0.5
    assert moves.choice.format in NAMES
    assert moves.choice.stall_fraction < 0.05
    # The gentlest that suffices, of those that cost about the same.
    assert moves.choice.format == "jpeg-256"


def test_the_plan_keeps_the_originals_apart_and_says_how_to_make_the_store_again():
    found = recommend(
        PHOTOS.model_copy(update={"root": "/data/photos"}), current="nfs", job=replace(JOB, reencode=True)
    )
    originals, store = found.plan
    assert (originals.holds, originals.format, originals.command) == ("originals", "folder", None)
    assert originals.bytes >= PHOTOS.bytes
    assert (store.holds, store.format, store.tier) == ("store", "jpeg-256", found.choice.tier)
    assert store.command == ("tiering convert /data/photos photos-jpeg-256.lmdb --to lmdb --max-side 256 --quality 90")
    assert originals.monthly_usd + store.monthly_usd == pytest.approx(found.choice.monthly_usd)
    assert originals.once_usd + store.once_usd == pytest.approx(found.choice.move_usd)
    cheapest = recommend(PHOTOS, current="nfs", job=replace(JOB, reencode=True, originals="stay")).plan[0]
    assert cheapest.tier == "nfs"
    assert originals.monthly_usd < cheapest.monthly_usd


def test_a_plan_of_plain_files_has_one_place():
    tiers = [TIERS["nvme"]]
    (place,) = recommend(PHOTOS, tiers=tiers, current="nvme", job=Job(ram=200 * GIB, samples_per_s=100.0)).plan
    assert (place.holds, place.tier, place.command) == ("dataset", "nvme", None)


def test_every_figure_of_a_form_follows_from_the_sample():
    found = {form.name: form for form in recommend(PHOTOS, current="nfs", job=JOB).forms}
    small, first = found["jpeg-256"], found["originals"]
    assert small.bytes == PHOTOS.files * 20_000
    assert (small.bytes_low, small.bytes_high) == (round(PHOTOS.files * 19_800), round(PHOTOS.files * 20_200))
    assert small.of_originals == pytest.approx(small.bytes / PHOTOS.bytes)
    assert small.decoded_per_s == pytest.approx(5 * first.decoded_per_s)
    assert not small.decoding_measured
    assert small.option.steady_epoch_s < first.option.steady_epoch_s
    # The memory holds the small store, and not the originals.
    assert small.option.hit_ratio == 1 > first.option.hit_ratio
    assert small.option.move_s > PHOTOS.files * 2 / first.decoded_per_s / 2
    assert small.option.pays_back_epochs > 0
    assert small.figures == MEASURED["jpeg-256"]


def test_without_a_sample_the_sizes_are_typical_and_no_loss_is_invented():
    found = recommend(IMAGENET, current="nfs", job=JOB)
    assert [form.figures for form in found.forms] == [None] * 4
    assert 0.1 < found.forms[2].of_originals < found.forms[1].of_originals < 0.6
    assert any("what they lose is not known" in line for line in found.notes)


def test_limits_hold_for_them_as_well():
    allowed = replace(JOB, reencode=True)
    kept = recommend(PHOTOS, current="nfs", job=allowed, limits=Limits(keep_originals=True))
    assert kept.choice.has_originals
    assert any("Keeping the originals drops" in line for line in kept.dropped)
    assert sum("do not hold the original files" in line for line in kept.dropped) == 3
    quick = recommend(PHOTOS, current="nfs", job=allowed, limits=Limits(max_epoch_s=700.0))
    assert quick.choice.format in NAMES
    assert "originals" not in [form.name for form in quick.forms]


def test_originals_that_are_deleted_cannot_make_a_store_again():
    with pytest.raises(UsageError, match="originals that stay"):
        Job(reencode=True, originals="drop")
    found = recommend(PHOTOS, current="nfs", job=Job(originals="drop"))
    assert not found.forms
    assert any("they need the originals" in line for line in found.dropped)


def test_images_that_would_lose_more_than_detail_are_left_alone():
    deep = PHOTOS.model_copy(update={"modes": {"I;16": 90, "RGB": 10}})
    found = recommend(deep, current="nfs", job=replace(JOB, reencode=True))
    assert found.choice.has_originals
    assert not found.forms
    assert any("90 % of the images have more than 8 bits" in line for line in found.dropped)


def test_masks_fit_smaller_images_but_not_their_middle():
    masked = PHOTOS.model_copy(update={"fields": [ProfiledField(name="mask", kind="image", count=5)]})
    found = recommend(masked, current="nfs", job=JOB)
    assert [form.name for form in found.forms] == ["originals", "jpeg-400", "jpeg-256"]
    assert any("the field mask keep their sides" in line for line in found.dropped)


def test_small_images_are_not_encoded_once_more():
    found = recommend(dataset(60_000, 60_000 * 900, shape=(32, 32)), current="nvme", job=Job(reencode=True))
    assert not found.forms
    assert sum("hardly more pixels" in line for line in found.dropped) == 3


def test_training_that_decodes_itself_gets_smaller_files_but_no_pixels():
    found = recommend(PHOTOS, current="nfs", job=Job(decode=False))
    assert [form.name for form in found.forms] == ["originals", "jpeg-400", "jpeg-256"]
    assert found.forms[1].decoded_per_s is None


def test_data_that_nothing_trains_on_is_not_re_encoded():
    assert not recommend(PHOTOS, current="nfs", verdict=verdict("write-heavy")).forms
    assert not recommend(PHOTOS, current="nfs", job=Job(runs_per_month=0)).forms


def test_an_object_store_holds_them_as_zarr():
    tiers = [TIERS["object"]]
    found = recommend(PHOTOS, tiers=tiers, current="object", job=replace(JOB, reencode=True))
    assert found.choice.container == "zarr"
    assert "--to zarr --max-side" in found.plan[-1].command or "--resize 256x256" in found.plan[-1].command


def test_a_report_compares_them_and_asks_what_if_they_were_allowed():
    plain = in_words(advise(Profile(dataset=PHOTOS), Assumptions(job=JOB, current="nfs")))
    assert plain.form_columns == ("made for training", "originals", *NAMES)
    assert {row[0]: row[1:] for row in plain.forms}["SSIM"] == ("1", *["0.970 (0.930)"] * 3)
    assert plain.what_if[-1][0] == "training may read re-encoded images"
    assert "jpeg-256" in plain.what_if[-1][1]
    allowed = in_words(advise(Profile(dataset=PHOTOS), Assumptions(job=replace(JOB, reencode=True), current="nfs")))
    assert len(allowed.plan) == 2
    assert "--max-side 256 --quality 90" in allowed.plan[1]


def test_an_estimate_says_what_they_would_read():
    originals, *stores = kept_as(TrainingRun(images=1_281_167, image_bytes=110_000, epochs=90))
    assert originals.run_bytes_read == 1_281_167 * 110_000 * 90
    assert [store.name for store in stores] == list(NAMES)
    assert stores[0].dataset_bytes < originals.dataset_bytes / 2
    assert stores[2].image_bytes == 256 * 256 * 3
    assert [store.name for store in kept_as(TrainingRun(image_bytes=784))] == ["originals"]
