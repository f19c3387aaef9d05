"""Quantities survive the way out and in, and nonsense is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.errors import UsageError
from tiering.units import (
    format_bytes,
    format_count,
    format_rate,
    format_seconds,
    parse_bytes,
    parse_capacity,
    parse_count,
    parse_network_rate,
    parse_number,
    parse_rate,
    parse_seconds,
)

SIZES = st.integers(0, 10**21)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("784", 784),
        ("45.9MB", 45_900_000),
        ("45.9 mb", 45_900_000),
        ("4GiB", 4 << 30),
        ("4 GiB", 4 << 30),
        ("0.5kB", 500),
        (".5k", 500),
        ("5.", 5),
        ("1,000,000", 10**6),
        ("1_000", 1000),
        (" 2T ", 2 * 10**12),
        ("1.5Ki", 1536),
        ("0.4", 0),
    ],
)
def test_sizes_as_people_write_them(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "B",
        "k",
        "-1",
        "+1",
        "1e5",
        "nan",
        "inf",
        "1.5.2",
        "45,9MB",
        "1,00",
        "1,",
        "1__0",
        "_1",
        "5 X",
        "4GiB/s",
        "4\u212a",
        "4\u0130",
        "\u0664",
        "1K\u0130B",
        "9" * 5000,
        "1\n2",
    ],
)
def test_nonsense_is_a_usage_error(text):
    with pytest.raises(UsageError, match="is not a size such as"):
        parse_bytes(text)


def test_rates_take_a_per_second_and_counts_take_no_bytes():
    assert parse_rate("4GiB/s") == parse_rate("4GiB") == 4 << 30
    assert parse_count("100M") == 10**8
    assert parse_count("1.28M") == 1_280_000
    for text in ("100MB", "1.5", "0.1234k"):
        with pytest.raises(UsageError):
            parse_count(text)


@pytest.mark.parametrize("text", ["64", " 1.5 ", "1,000", "200."])
def test_room_without_a_unit_is_refused(text):
    with pytest.raises(UsageError, match=f"{text.strip()} without one"):
        parse_capacity(text)
    assert parse_capacity(f"{text.strip()}GB") == parse_bytes(f"{text.strip()}GB")


def test_no_room_needs_no_unit():
    assert parse_capacity("0") == parse_capacity("0GB") == 0
    assert (parse_capacity("64B"), parse_capacity("64k"), parse_capacity("1 GiB")) == (64, 64_000, 1 << 30)
    with pytest.raises(UsageError, match="is not a size such as"):
        parse_capacity("lots")


@pytest.mark.parametrize(
    ("text", "number"), [("1M", 1e6), ("2.5k", 2500.0), ("0.5", 0.5), ("1e9", 1e9), ("5,000", 5e3), ("1.5E3", 1500.0)]
)
def test_numbers_as_people_write_them(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["", "nan", "inf", "-1", "1MB", "1M/s", "e9", "1e999"])
def test_what_is_no_number_is_a_usage_error(text):
    with pytest.raises(UsageError, match="is not a number such as"):
        parse_number(text)


@given(SIZES)
def test_exact_texts_come_back_exactly(size):
    assert parse_bytes(str(size)) == parse_bytes(f"{size}B") == parse_count(format_count(size)) == size
    assert parse_bytes(f"{size} KiB") == size * 1024


@given(SIZES, st.integers(1, 12))
def test_formatted_sizes_come_back_to_their_digits(size, digits):
    back = parse_bytes(format_bytes(size, digits))
    assert abs(back - size) <= max(0.5, 0.51 * size * 10 ** (1 - digits))
    assert format_bytes(back, digits) == format_bytes(size, digits)


@given(SIZES)
def test_rates_come_back_to_three_digits(rate):
    assert parse_rate(format_rate(rate)) == pytest.approx(rate, rel=0.0051, abs=0.5)


@given(st.floats(0, 1e21))
def test_no_power_of_ten_and_no_thousand_of_a_smaller_unit(size):
    number, unit = format_bytes(size).split(" ")
    assert "e" not in number
    assert float(number) < 1000 or unit == "EB"


@given(st.floats(1e-7, 1e12))
def test_durations_come_back_to_three_digits(seconds):
    units = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "days": 86400, "years": 365.25 * 86400}
    number, unit = format_seconds(seconds).split(" ")
    assert "e" not in number
    assert float(number.replace(",", "")) * units[unit] == pytest.approx(seconds, rel=0.0051)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (784, "784 B"),
        (999.9, "1 kB"),
        (999_600, "1 MB"),
        (45_923_200, "45.9 MB"),
        (4_590_000_000_000_000, "4.59 PB"),
        (2e9, "2 GB"),
        (1e22, "10000 EB"),
    ],
)
def test_sizes_as_people_read_them(size, text):
    assert format_bytes(size) == text


def test_four_digits_where_asked():
    assert format_bytes(22_950_000_000_000_000_000, 4) == "22.95 EB"
    assert format_rate(1.1e9) == "1.1 GB/s"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 us"),
        (0.9996, "1 s"),
        (0.02, "20 ms"),
        (5400, "90 min"),
        (86400 * 1000, "2.74 years"),
        (1e12, "31,688 years"),
    ],
)
def test_durations_as_people_read_them(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *[("90", 90), ("90s", 90), ("30min", 1800), ("2 h", 7200), ("1.5d", 129600), ("2 days", 172800)],
        *[("224ms", 0.224), ("0.5 ms", 0.0005)],
    ],
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1e3", "5 weeks", "h"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(UsageError, match="is not a duration"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100Gb/s", 12_500_000_000),
        ("25 Gbit/s", 3_125_000_000),
        ("400gbps", 50_000_000_000),
        ("12.5GB/s", 12_500_000_000),
        ("1GiB/s", 1 << 30),
    ],
)
def test_rates_of_networks_are_in_bits_or_bytes(text, rate):
    assert parse_network_rate(text) == rate


@pytest.mark.parametrize("text", ["", "100", "100G", "Gb/s", "-1Gb/s", "1Gb", "fastb/s", "9" * 99 + "b/s"])
def test_a_rate_of_a_network_needs_its_unit(text):
    with pytest.raises(UsageError, match=r"100Gb/s \(bits\)"):
        parse_network_rate(text)
