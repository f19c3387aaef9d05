"""Profiles and verdicts as the tests of advice want them."""

from __future__ import annotations

from tiering.advice.catalog import load_catalog
from tiering.dataset.profile import DatasetProfile
from tiering.workload.verdict import Verdict

TIERS = {tier.name: tier for tier in load_catalog()}
GIB = 1 << 30


def dataset(files, size, formats=("JPEG",), shape=None):
    return DatasetProfile(
        root="photos", layout="flat", files=files, bytes=size, size_mean=size / files if files else 0.0,
        size_quantiles={}, labels={}, probed=len(formats), formats=dict.fromkeys(formats, 1),
        shapes=[{"width": shape[1], "height": shape[0], "mode": "RGB", "count": 1}] if shape else [],
        distinct_shapes=1 if shape else 0, pixel_bytes_mean=3.0 * shape[0] * shape[1] if shape else 0.0,
    )  # fmt: skip


def verdict(workload, *, whole=True, notes=()):
    return Verdict(workload=workload, probability=0.9, probabilities={}, facts=[], whole=whole, notes=list(notes))


def everything(found):
    return [found.choice, *found.alternatives]


IMAGENET = dataset(1_281_167, 140 * 10**9)
PETABYTES = dataset(100_000_000, 4_590_000_000_000_000, ("TIFF",))
