"""Parts of objects that a log does not place: what was read again is known within bounds, and nothing is made up."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from tiering.placement.heat import trace_heat
from tiering.trace.profile import profile_trace
from tiering.trace.readers import read_trace
from tiering.trace.trace_profile import TraceProfile
from tiering.workload.features import FEATURE_NAMES, features
from tiering.workload.verdict import classify

_PART, _PARTS, _OBJECTS = 1 << 20, 8, 30
_WHOLE = _PART * _PARTS
#: Features that need the places of reads.
_NEED_PLACES = ("sequentiality", "file_coverage", "unrepeated", "file_size", "shared_share")


def _log(path: Path, passes: int, *, parts: bool = True, clients: int = 1, operation: str = "GET.OBJECT") -> Path:
    """Write an access log of some passes over all objects, in parts or whole, by clients in turn."""
    lines, second = [], 0
    for _ in range(passes):
        for which in range(_OBJECTS):
            for part in range(_PARTS if parts else 1):
                second += 1
                sent, status = (_PART, 206) if parts else (_WHOLE, 200)
                sizes = f"{sent} {_WHOLE}" if operation == "GET.OBJECT" else f"- {sent}"
                lines.append(
                    f"79a59d photos [06/Feb/2019:{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02} +0000] "
                    f"192.0.2.{part % clients} 79a59d 3E57 REST.{operation} img/{which}.bin "
                    f'"GET /photos/img/{which}.bin HTTP/1.1" {status} - {sizes} 7 5 "-" "S3" - x= SigV4 E A h T - -'
                )
    path.write_text("\n".join(lines) + "\n")
    return path


def _profile(path: Path) -> tuple[TraceProfile, dict[str, float]]:
    profile = profile_trace(path)
    return profile, dict(zip(FEATURE_NAMES, features(profile).tolist(), strict=True))


@pytest.mark.parametrize("clients", [1, 3])
def test_parts_of_one_pass_do_not_look_like_re_reading(tmp_path, clients):
    profile, vector = _profile(_log(tmp_path / "log", 1, clients=clients))
    assert profile.bytes_read == profile.unique_bytes_read == _OBJECTS * _WHOLE
    assert (profile.bytes_reread, profile.reads_again) == (0, 0)
    assert profile.bytes_unplaced == profile.bytes_read
    assert all(math.isnan(vector[name]) for name in (*_NEED_PLACES, "reread_share", "epochs"))
    assert (profile.sequentiality, profile.epochs_found, profile.miss_ratio_curve) == (None, None, [])


def test_one_pass_in_parts_decides_nothing_and_the_verdict_says_why(tmp_path):
    verdict = classify(_profile(_log(tmp_path / "log", 1))[0])
    assert verdict.workload == "inconclusive"
    assert "does not show where 100 % of the bytes read are" in verdict.notes[0]
    assert "read-once or mixed or re-read-heavy" in verdict.notes[0]


def test_five_passes_in_parts_must_have_read_four_fifths_again(tmp_path):
    profile, vector = _profile(_log(tmp_path / "log", 5, clients=2))
    assert profile.bytes_reread == 4 * _OBJECTS * _WHOLE
    assert vector["reread_share"] == pytest.approx(0.8)
    assert math.isnan(vector["sequentiality"])
    assert classify(profile).workload in ("re-read-heavy", "inconclusive")


def test_whole_objects_are_read_from_their_beginnings(tmp_path):
    profile, vector = _profile(_log(tmp_path / "log", 3, parts=False))
    assert (profile.bytes_unplaced, profile.bytes_reread) == (0, 2 * _OBJECTS * _WHOLE)
    assert not math.isnan(vector["sequentiality"])
    assert profile.epochs_found is not None
    assert profile.epochs_found.count == 3


def test_parts_and_wholes_of_an_object_overlap(tmp_path):
    parts, whole = _log(tmp_path / "a", 1), _log(tmp_path / "b", 1, parts=False)
    both = tmp_path / "both"
    both.write_text(parts.read_text() + whole.read_text())
    assert profile_trace(both).bytes_reread == _OBJECTS * _WHOLE


def test_uploaded_parts_do_not_overwrite_one_another(tmp_path):
    path = _log(tmp_path / "log", 1, operation="PUT.PART")
    assert pl.concat(read_trace(path).batches)["offset"].null_count() == _OBJECTS * _PARTS
    assert profile_trace(path).overwrite_factor == 1


def test_a_few_parts_among_wholes_do_not_hide_what_is_known(tmp_path):
    whole, part = _log(tmp_path / "a", 3, parts=False).read_text(), _log(tmp_path / "b", 1).read_text()
    mixed = tmp_path / "mixed"
    mixed.write_text(whole + part.split("\n", 1)[0] + "\n")
    profile, vector = _profile(mixed)
    assert profile.bytes_unplaced == _PART
    assert profile.is_placed
    assert not math.isnan(vector["sequentiality"])


def test_an_object_of_unknown_size_is_at_least_as_large_as_its_largest_part(tmp_path):
    line = (
        '{{"eventName": "GetObject", "eventTime": "2025-02-10T05:04:{}Z", "eventSource": "s3.amazonaws.com", '
        '"requestParameters": {{"bucketName": "b", "key": "k"}}, "additionalEventData": {{"bytesTransferredOut": {}}}}}\n'
    )
    path = tmp_path / "trail"
    path.write_text("".join(line.format(second, size) for second, size in ((10, 500), (11, 900), (12, 100))))
    heat = trace_heat(read_trace(path).batches)
    assert heat.files.select("path", "size", "reads", "bytes_read").rows() == [("s3://b/k", 900, 3, 1500)]
    profile = profile_trace(path)
    assert (profile.bytes_reread, profile.reads_again, profile.unique_bytes_read) == (0, 0, 1500)
