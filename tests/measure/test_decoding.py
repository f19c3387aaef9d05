"""The time to decode an image of a store."""

from __future__ import annotations

import tiering
from tiering.measure.decoding import decode_seconds


def test_encoded_images_take_time_and_pixels_none(photos, tmp_path):
    tiering.convert(photos, tmp_path / "pixels", "zarr", pixels=tiering.Pixels(16, 16), workers=1)
    assert 1e-6 < decode_seconds(photos) < 1
    assert decode_seconds(tiering.open_store(photos), seed=1) > 0
    assert decode_seconds(tmp_path / "pixels") is None


def test_images_that_cannot_be_decoded_are_left_out(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0" + b"no image" * 20)
    assert decode_seconds(tmp_path / "photos") is None
