"""`tiering recommend`: where and how to keep a dataset, and what it would gain."""

from __future__ import annotations

import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli.output import JsonFlag, emit_json, note, out, table, talk
from tiering.errors import DatasetError, InputError
from tiering.units import format_seconds, parse_bytes, parse_count

if TYPE_CHECKING:
    from tiering.profile import Profile
    from tiering.tiers.options import Option, Recommendation

#: Columns that the widest table of options needs.
WIDTH = 140


def recommend(
    dataset: Annotated[
        Path, typer.Argument(metavar="DATASET|PROFILE", help="Directory of images, or a profile.json of it.")
    ],
    ram: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory of the training host for caching; by default half of this machine's.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[str, typer.Option(metavar="COUNT", help="Epochs of a training run.")] = "100",
    tier: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Tier on which the dataset lies now: nvme, hdd, nfs, object ..."),
    ] = None,
    hour_price: Annotated[
        float, typer.Option(min=0, metavar="USD", help="What an hour of waiting for data costs.")
    ] = 2.0,
    catalog: Annotated[
        Path | None,
        typer.Option(metavar="FILE", envvar="TIERING_CATALOG", help="TOML file that overrides or adds tiers."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Recommend the storage tier, the packed format, the codec and the cache for a dataset.

    Every fitting combination is predicted, time and money, and ranked; nothing is read but the dataset's profile,
    and nothing is changed. A profile made with a trace gives advice for the workload that the trace shows.

    Example: `tiering recommend profile.json --tier nfs --ram 64GiB --epochs 90`
    """
    # Imported here so that `tiering --help` does not wait for Polars.
    from tiering.tiers.catalog import load_catalog
    from tiering.tiers.recommend import recommend as run

    tiers = load_catalog(catalog)
    memory = parse_bytes(ram) if ram is not None else _half_of_memory()
    passes = parse_count(epochs)
    profile = _profile(dataset)
    if profile.dataset is None:
        raise InputError(
            str(dataset),
            expected="the profile of a dataset",
            found="traces alone",
            action="Make it with the dataset: tiering profile DATASET --trace FILE -o profile.json",
        )
    verdict = None
    if profile.traces:
        from tiering.workload.model import classify

        verdict = classify(profile.traces[0])
    found = run(
        profile.dataset,
        verdict=verdict,
        tiers=tiers,
        ram=memory,
        epochs=passes,
        current=tier,
        hour_usd=hour_price,
    )
    if len(profile.traces) > 1:
        note(f"Note: of {len(profile.traces)} traces the first was judged, {profile.traces[0].source}.")
    if json:
        emit_json(found)
        return
    _show(found)
    _show_next(found.choice, profile.dataset.root)


def _half_of_memory() -> int:
    """Return B: half of this machine's memory, the rest being the training's own."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _profile(path: Path) -> Profile:
    from tiering.dataset.profile import profile_dataset
    from tiering.profile import Profile, read_profile

    if path.is_dir():
        with talk().status(f"Reading {path}"):
            return Profile(dataset=profile_dataset(path))
    if not path.exists():
        raise DatasetError(
            str(path),
            expected="a directory of images or a profile.json",
            found="nothing",
            action="Check the path.",
        )
    return read_profile(path)


def _show(found: Recommendation) -> None:
    console = out()
    # Nine columns need more than the 80 that a pipe is taken to have; a figure cut short would be a wrong one.
    console.width = max(console.width, WIDTH)
    console.print(f"Workload: {found.workload}", markup=False)
    shown = table("", "tier", "format", "cache", "first epoch", "later", "samples/s", "speed-up", "USD/month")
    for column in shown.columns[1:4]:
        column.justify = "left"
    rows = [("->", found.choice), *(("", option) for option in found.alternatives), ("now", found.baseline)]
    for mark, option in rows:
        codec = "" if option.codec == "none" else f" + {option.codec}"
        shown.add_row(
            mark,
            option.tier,
            option.format + codec,
            option.cache,
            format_seconds(option.first_epoch_s),
            format_seconds(option.steady_epoch_s),
            f"{option.samples_per_s:,.3g}" if option.samples_per_s < 100 else f"{option.samples_per_s:,.0f}",
            f"{option.speedup:,.3g} x" if option.speedup < 100 else f"{option.speedup:,.0f} x",
            f"{option.monthly_usd:,.2f}",
        )
    console.print(shown)
    for line in ("", found.choice.reason, f"Chosen by: {found.criterion}."):
        console.print(line, markup=False, soft_wrap=True)
    for line in found.notes:
        note(f"Note: {line}")


def _show_next(choice: Option, root: str) -> None:
    if choice.format == "folder":
        return
    codec = f" --codec {choice.codec}" if choice.codec != "none" else ""
    name = Path(root).name or "dataset"
    target = f"{name}.{choice.format}"
    note(f"Next: tiering convert {quote(root)} {quote(target)} --to {choice.format}{codec}")
