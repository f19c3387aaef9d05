"""A dataset's profile as lines for people: each a name and what there is to say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tiering.sources.account_lines import account_lines
from tiering.units import counted, format_bytes, format_count, format_percent

if TYPE_CHECKING:
    from tiering.dataset.distributions import Distribution
    from tiering.dataset.estimates import EstimatedValue
    from tiering.dataset.field_counts import ProfiledField
    from tiering.dataset.profile import DatasetProfile

SHOWN = 5


def dataset_rows(dataset: DatasetProfile) -> Iterator[tuple[str, str]]:
    """Yield what a profile says, uncertain figures with their 95 % intervals in brackets."""
    known = dataset.estimates
    count, size = format_count(dataset.files), format_bytes(dataset.bytes)
    yield "images", f"{count}{_range(known, 'files', _count)}, {size}{_range(known, 'bytes', _bytes)} in all"
    quantile = {name: format_bytes(size) for name, size in dataset.size_quantiles.items()}
    smallest, largest = ("smallest seen", "largest seen") if dataset.sampled else ("smallest", "largest")
    yield (
        "sizes",
        (
            f"mean {format_bytes(round(dataset.size_mean))}{_range(known, 'size_mean', _bytes)}; {smallest} "
            f"{quantile['0']}, 5 % below {quantile['0.05']}{_sizes(dataset, '0.05')}, median {quantile['0.5']}"
            f"{_sizes(dataset, '0.5')}, 5 % above {quantile['0.95']}{_sizes(dataset, '0.95')}, "
            f"{largest} {quantile['1']}"
        ),
    )
    if dataset.sampled:
        yield (
            "sample",
            (
                f"{format_count(known['bytes'].sample)} files in {format_count(known['files'].sample)} directories; "
                "in brackets: 95 % intervals"
            ),
        )
    yield "layout", dataset.arrangement or dataset.layout
    yield from _label_rows(dataset)
    yield from _field_rows(dataset)
    yield from _header_rows(dataset)
    yield from _reencoded_rows(dataset)
    if dataset.damaged_count:
        exact = "damaged_share" in known and known["damaged_share"].exact
        looked_at = dataset.files if exact else dataset.probed
        shown = f"{format_count(dataset.damaged_count)} of {format_count(looked_at)} looked at"
        yield "damaged", shown + _range(known, "damaged_share", format_percent)
    elif "damaged_share" in known and not known["damaged_share"].exact:
        high = format_percent(known["damaged_share"].high)
        yield "damaged", f"none of {format_count(dataset.probed)} looked at (at most {high} of all)"
    copies = known.get("duplicate_share")
    if copies is not None and dataset.probed < dataset.files:
        found = "none seen" if copies.value == 0 else f"about {format_percent(copies.value)} are copies of another"
        high = format_percent(copies.high)
        yield (
            "duplicates",
            f"{found} in {format_count(copies.sample)} images ({format_percent(copies.low)} to {high} of all)",
        )
    elif copies is not None and copies.value:
        yield "duplicates", f"{format_count(round(copies.value * copies.sample))} are copies of another"
    intervals = {
        name.removeprefix("left out "): (found.low, found.high)
        for name, found in known.items()
        if name.startswith("left out ") and not found.exact
    }
    about = dataset.sampled or ("damaged_share" in known and not known["damaged_share"].exact)
    become = "packed" if dataset.is_packed else "to pack"
    lines = list(account_lines(dataset.account, become, about=about, intervals=intervals))
    yield from (("account" if number == 0 else "", line) for number, line in enumerate(lines))


def _label_rows(dataset: DatasetProfile) -> Iterator[tuple[str, str]]:
    if not dataset.labels:
        return
    counts = dataset.labels.values()
    least, most = format_count(min(counts)), format_count(max(counts))
    images = f"{counted(min(counts), 'image')} each" if least == most else f"{least} to {most} images each"
    about = "about " if dataset.sampled else ""
    unequal = ""
    if "label_imbalance" in dataset.estimates and least != most:
        found = dataset.estimates["label_imbalance"]
        interval = _range(dataset.estimates, "label_imbalance", _ratio)
        unequal = f"; a random image's label has {_ratio(found.value)}{interval} times the mean"
    number = _range(dataset.estimates, "labels", _count)
    yield "labels", f"{format_count(len(counts))}{number}, {about}{images}{unequal}"


def _field_rows(dataset: DatasetProfile) -> Iterator[tuple[str, str]]:
    about = "about " if dataset.sampled else ""
    for number, field in enumerate(dataset.fields):
        every = field.count == dataset.files and not dataset.sampled
        count = "all images" if every else f"{about}{counted(field.count, 'image')}"
        found = "" if field.distribution is None else f", {_spread(field, field.distribution)}"
        yield "" if number else "fields", f"{field.name} ({field.kind}): {count}{found}"


def _spread(field: ProfiledField, found: Distribution) -> str:
    low, median, high = (field.shown(found.quantiles[share]) for share in ("0", "0.5", "1"))
    spread = f"{low} to {high}, median {median}" if low != high else f"{low} each"
    return f"about {spread} (of {format_count(found.values)} drawn at random)" if found.sampled else spread


def _header_rows(dataset: DatasetProfile) -> Iterator[tuple[str, str]]:
    seen = sum(dataset.formats.values())
    if not seen:
        return
    known = dataset.estimates

    def shares(word: str, counts: dict[str, int]) -> str:
        return ", ".join(
            f"{name} {format_percent(known[f'{word} {name}'].value if f'{word} {name}' in known else count / seen)}"
            f"{_range(known, f'{word} {name}', format_percent)}"
            for name, count in counts.items()
        )

    if dataset.is_decoded:
        yield "formats", "pixels, not encoded"
    else:
        yield "formats", f"{shares('format', dataset.formats)} (of {counted(seen, 'header')} read)"
    if dataset.modes:
        yield "colours", shares("mode", dataset.modes)
    shapes = ", ".join(
        f"{shape.width} x {shape.height} {shape.mode} ({format_count(shape.count)})" for shape in dataset.shapes[:SHOWN]
    )
    more = ", ..." if dataset.distinct_shapes > SHOWN else ""
    yield "shapes", f"{format_count(dataset.distinct_shapes)} different: {shapes}{more}"
    mean = format_bytes(round(dataset.pixel_bytes_mean))
    yield "as pixels", f"mean {mean}{_range(known, 'pixel_bytes_mean', _bytes)} as 8-bit RGB"


def _reencoded_rows(dataset: DatasetProfile) -> Iterator[tuple[str, str]]:
    for number, (name, found) in enumerate(dataset.reencoded.items()):
        saved = format_percent(found.size.value / dataset.size_mean)
        middle = f"; the middle {format_percent(found.area)} of each picture" if found.cuts_edges else ""
        yield (
            "" if number else "re-encoded",
            (
                f"{name}: {format_bytes(round(found.size.value))} an image{_range({name: found.size}, name, _bytes)}, "
                f"{saved} of the originals' bytes, {1 / found.decode_ratio:.1f} x their rate, SSIM {found.ssim:.3f}, "
                f"PSNR {found.psnr:.1f} dB (of {counted(found.images, 'image')}){middle}"
            ),
        )


def _range(known: dict[str, EstimatedValue], name: str, write: Callable[[float], str]) -> str:
    found = known.get(name)
    return "" if found is None or found.exact else _between(found.low, found.high, write)


def _sizes(dataset: DatasetProfile, name: str) -> str:
    found = dataset.size_intervals.get(name)
    return "" if found is None else _between(*found, _bytes)


def _between(low: float, high: float, write: Callable[[float], str]) -> str:
    # An interval from too few draws has an end that is a number only to a computer.
    return f" ({write(low)} to {write(high)})" if high < 1e18 else f" ({write(low)} or more)"


def _count(number: float) -> str:
    return format_count(round(number))


def _bytes(number: float) -> str:
    return format_bytes(round(number))


def _ratio(number: float) -> str:
    return f"{number:.2f}" if math.isfinite(number) else "?"
