"""The comparison of originals with stores made for training, as rows of text: a quantity in each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tiering.advice.option import Option
from tiering.advice.recommendation import Form
from tiering.units import format_bytes, format_count, format_percent, format_seconds, format_usd


def form_rows(forms: Sequence[Form]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the heading, and rows of a quantity and its value for each form."""
    heading = ("made for training", *(form.name for form in forms))
    return heading, [(name, *(write(form) for form in forms)) for name, write in _ROWS]


def _kept(option: Option) -> str:
    return option.container + (" in blocks" if option.order == "block" else "")


def _pays_back(option: Option) -> str:
    pays = option.pays_back_epochs
    if pays is None or not option.move_s:
        return "-"
    count = f"{pays:,.1f}" if pays < 100 else f"{pays:,.0f}"
    return f"{count} epoch{'' if count == '1.0' else 's'}"


def _similarity(form: Form) -> str:
    if form.name == "originals":
        return "1"
    return "unknown" if form.figures is None else f"{form.figures.ssim:.3f} ({form.figures.ssim_low:.3f})"


def _noise(form: Form) -> str:
    if form.name == "originals":
        return "-"
    return "unknown" if form.figures is None else f"{form.figures.psnr:.1f} dB"


_ROWS: Final[tuple[tuple[str, Callable[[Form], str]], ...]] = (
    ("kept as", lambda form: _kept(form.option)),
    ("on", lambda form: form.option.tier),
    ("bytes", lambda form: format_bytes(form.bytes)),
    ("of the originals", lambda form: format_percent(form.of_originals)),
    ("SSIM", _similarity),
    ("PSNR", _noise),
    ("ready on a core", lambda form: "-" if form.decoded_per_s is None else f"{format_count(form.decoded_per_s)}/s"),
    ("that rate is", lambda form: "measured" if form.decoding_measured else "predicted"),
    ("later epochs", lambda form: format_seconds(form.option.steady_epoch_s)),
    ("from a cache", lambda form: format_percent(form.option.hit_ratio)),
    ("USD/month", lambda form: format_usd(form.option.monthly_usd)),
    ("packing", lambda form: format_seconds(form.option.move_s) if form.option.move_s else "-"),
    ("pays back after", lambda form: _pays_back(form.option)),
)
