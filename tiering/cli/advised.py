"""How `tiering recommend` shows its advice."""

from __future__ import annotations

from pathlib import Path

from tiering.advice.recommendation import Asks, Option, Recommendation
from tiering.cli.output import note, out, table
from tiering.errors import command
from tiering.units import format_bytes, format_count, format_rate, format_seconds

#: Columns that the widest table of options needs.
WIDTH = 160


def show(found: Recommendation, root: str, shape: tuple[int, int] | None) -> None:
    """Print the options, the choice with its reasons, what it costs and saves, and what the run asks of storage."""
    console = out()
    # Many columns need more than the 80 that a pipe is taken to have; a figure cut short would be a wrong one.
    console.width = max(console.width, WIDTH)
    sure = "" if found.confidence is None else f", probability {found.confidence:.0%}"
    console.print(f"Workload: {found.workload}{sure}")
    stalls = found.choice.stall_fraction is not None
    shown = table(
        "",
        "tier",
        "format",
        "cache",
        "first epoch",
        "later",
        "samples/s",
        "limited by",
        *(["waiting"] if stalls else []),
        "speed-up",
        "USD/month",
        "pays back",
    )
    for column in shown.columns[1:4]:
        column.justify = "left"
    rows = [("->", found.choice), *(("*" if each.on_frontier else "", each) for each in found.alternatives)]
    for mark, option in (*rows, ("now", found.baseline)):
        shown.add_row(mark, *_cells(option, stalls=stalls))
    console.print(shown)
    if any(option.on_frontier for option in found.alternatives):
        note("*: no other way is both cheaper and faster.")
    lines = ("", found.choice.reason, f"Chosen by: {found.criterion}.", found.conversion, found.doing_nothing)
    for line in lines:
        console.print(line, soft_wrap=True)
    _show_asks(found.asks)
    for line in found.dropped:
        note(f"Left out: {line}")
    for line in found.notes:
        note(f"Note: {line}")
    _show_next(found.choice, root, shape)


def _cells(option: Option, *, stalls: bool) -> list[str]:
    codec = "" if option.codec == "none" else f" + {option.codec}"
    pays = option.pays_back_epochs
    return [
        option.tier,
        option.format + codec,
        option.cache,
        format_seconds(option.first_epoch_s),
        format_seconds(option.steady_epoch_s),
        f"{option.samples_per_s:,.3g}" if option.samples_per_s < 100 else format_count(option.samples_per_s),
        option.bottleneck,
        *([f"{100 * (option.stall_fraction or 0):.0f} %"] if stalls else []),
        f"{option.speedup:,.3g} x" if option.speedup < 100 else f"{format_count(option.speedup)} x",
        f"{option.monthly_usd:,.2f}",
        "-" if pays is None or not option.move_s else f"{pays:,.1f} epochs" if pays < 100 else f"{pays:,.0f} epochs",
    ]


def _show_asks(asks: Asks) -> None:
    """Show tiers and nodes where one host cannot hold the dataset; elsewhere they tell nothing new."""
    if all(tier.fits for tier in asks.tiers):
        return
    console = out()
    console.width = max(console.width, WIDTH)
    tiers = table("plain files on", "fits", "a cold epoch", "USD/month")
    for tier in asks.tiers:
        tiers.add_row(tier.tier, "yes" if tier.fits else "no", format_seconds(tier.epoch_s), f"{tier.usd:,.0f}")
    console.print()
    console.print(tiers)
    if len(asks.nodes) < 2:
        return
    aimed = asks.bytes_per_s is not None
    nodes = table("nodes", "cache on each", "hits", "from origin", *(["at"] if aimed else []), "epoch", "USD/month")
    for each in asks.nodes:
        nodes.add_row(
            format_count(each.nodes),
            format_bytes(each.cache_bytes),
            f"{100 * each.hit_ratio:.3g} %",
            format_bytes(each.origin_bytes),
            *([format_rate(each.origin_bytes_per_s or 0.0)] if aimed else []),
            format_seconds(each.epoch_s),
            f"{each.cache_usd:,.0f}",
        )
    console.print()
    console.print(nodes)


def _show_next(choice: Option, root: str, shape: tuple[int, int] | None) -> None:
    if choice.format == "folder":
        return
    pixels = choice.format == "pixels"
    kind = "zarr" if pixels else choice.format
    size = ["--resize", f"{shape[0]}x{shape[1]}"] if pixels and shape else ["--pixels"] if pixels else []
    codec = ["--codec", choice.codec] if choice.codec != "none" or pixels else []
    name = Path(root).name or "dataset"
    target = f"{name}.{kind}"
    note(f"Next: {command('tiering', 'convert', root, target, '--to', kind, *size, *codec)}")
