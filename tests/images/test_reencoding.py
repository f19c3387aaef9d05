"""Images that are re-encoded for training: smaller, upright, in sRGB, and without metadata."""

from __future__ import annotations

import io
from contextlib import suppress

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from sklearn.datasets import load_sample_image

from tiering.errors import DatasetError, UsageError
from tiering.images.encoder_build import encoder_build
from tiering.images.image import decode, probe
from tiering.images.jpeg_segments import colour_profile, segments_of
from tiering.images.likeness import psnr
from tiering.images.reencoding import Reencoded, reencode

PHOTO = Image.fromarray(load_sample_image("china.jpg"))  # 640 x 427
SIDES = st.integers(1, 70_000)


def encoded(image: Image.Image, kind: str = "JPEG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 95} if kind == "JPEG" else {}) | options)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def shrunk(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))


@given(width=SIDES, height=SIDES, limit=st.integers(1, 65_535), longest=st.booleans())
def test_only_larger_images_shrink_to_the_limit_and_keep_their_proportions(width, height, limit, longest):
    how = Reencoded(max_side=limit) if longest else Reencoded(short_side=limit)
    size = how.size(width, height)
    side = max if longest else min
    assert side(size) == min(side(width, height), limit)
    assert min(size) >= 1
    if side(width, height) <= limit:
        assert size == (width, height)
    else:
        scale = limit / side(width, height)
        assert abs(size[0] - width * scale) <= 0.5 or size[0] == 1
        assert abs(size[1] - height * scale) <= 0.5 or size[1] == 1
    assert how.size(height, width) == size[::-1]


def test_settings_that_make_no_sense_are_refused():
    for wrong in ({"max_side": 0}, {"short_side": -1}, {"max_side": 400, "short_side": 256}, {"quality": 0},
                  {"quality": 101}, {"format": "gif"}):  # fmt: skip
        with pytest.raises(UsageError):
            Reencoded(**wrong)


@pytest.mark.parametrize("kind", ["jpeg", "webp", "png"])
def test_a_photograph_becomes_smaller_and_looks_the_same(kind):
    made = reencode(encoded(PHOTO), "photo", Reencoded(max_side=400, format=kind))
    header = probe(made)
    assert (header.format, header.width, header.height) == (kind.upper(), 400, 267)
    assert psnr(decode(made), shrunk(PHOTO, (400, 267))) > 30
    assert made == reencode(encoded(PHOTO), "photo", Reencoded(max_side=400, format=kind))


def test_a_large_photograph_is_decoded_small_and_looks_the_same():
    large = PHOTO.resize((2001, 1333), Image.Resampling.BICUBIC)  # decoded at 1/4, where the last pixel is cut
    made = reencode(encoded(large), "photo", Reencoded(short_side=128))
    assert opened(made).size == (192, 128)
    assert psnr(decode(made), shrunk(large, (192, 128))) > 30


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a camera"
    data = encoded(PHOTO, exif=exif)
    made = reencode(data, "photo", Reencoded(max_side=300))
    upright = ImageOps.exif_transpose(opened(data))
    assert psnr(decode(made), shrunk(upright, opened(made).size)) > 30
    assert max(opened(made).size) == 300
    assert not opened(made).getexif()


@pytest.mark.parametrize("sampling", ["444", "422", "420", "440", "411"])
def test_a_jpeg_keeps_its_chroma_subsampling(sampling):
    data = simplejpeg.encode_jpeg(np.asarray(PHOTO), 95, colorsubsampling=sampling)
    made = reencode(data, "photo", Reencoded(max_side=300))
    assert simplejpeg.decode_jpeg_header(made)[3] == sampling


def test_a_turned_jpeg_keeps_the_direction_of_its_subsampling():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(PHOTO, exif=exif, subsampling="4:2:2")
    assert simplejpeg.decode_jpeg_header(reencode(data, "photo", Reencoded(max_side=300)))[3] == "440"


def test_a_subsampling_that_cannot_be_written_becomes_the_usual_one():
    # Four rows share a colour instead of four columns: the blocks are as many, and only their places change.
    across = simplejpeg.encode_jpeg(np.asarray(PHOTO.crop((0, 0, 320, 320))), 95, colorsubsampling="411")
    frame = across.index(b"\xff\xc0")
    down = across[: frame + 11] + b"\x14" + across[frame + 12 :]
    made = reencode(down, "photo", Reencoded(max_side=160))
    assert simplejpeg.decode_jpeg_header(made)[3] == "420"
    assert psnr(decode(made), shrunk(Image.fromarray(decode(down)), (160, 160))) > 20


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """The profile of sRGB in which red and blue have changed places, with a name of its own."""
    tags = SRGB.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)
    return tags.replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("made_as", ["jpeg", "png"])
def test_colours_are_converted_to_srgb_by_their_profile(kind, made_as):
    data = encoded(PHOTO, kind, icc_profile=swapped_profile())
    made = reencode(data, "photo", Reencoded(max_side=300, format=made_as))
    assert psnr(decode(made)[:, :, ::-1], shrunk(PHOTO, (300, 200))) > 30
    assert "icc_profile" not in opened(made).info


@pytest.mark.parametrize("profile", [b"no profile at all", SRGB])
def test_a_profile_that_says_nothing_new_changes_nothing(profile):
    for kind in ("JPEG", "PNG"):
        plain = reencode(encoded(PHOTO, kind), "photo", Reencoded(max_side=300))
        assert reencode(encoded(PHOTO, kind, icc_profile=profile), "photo", Reencoded(max_side=300)) == plain


def test_cmyk_becomes_rgb():
    data = encoded(PHOTO.convert("CMYK"))
    made = reencode(data, "photo", Reencoded(max_side=300))
    assert opened(made).mode == "RGB"
    assert psnr(decode(made), shrunk(Image.fromarray(decode(data)), (300, 200))) > 30
    # A profile of another kind of pixels counts as none.
    assert reencode(encoded(PHOTO.convert("CMYK"), icc_profile=swapped_profile()), "photo", Reencoded(300)) == made


@pytest.mark.parametrize(("kind", "mode"), [("JPEG", "L"), ("PNG", "L"), ("PNG", "1"), ("PNG", "LA")])
@pytest.mark.parametrize("profile", [b"", swapped_profile()])
def test_grey_stays_grey(kind, mode, profile):
    data = encoded(PHOTO.convert(mode), kind, icc_profile=profile)
    made = reencode(data, "photo", Reencoded(max_side=300))
    assert probe(made).grey
    assert psnr(decode(made), shrunk(Image.fromarray(decode(data)), (300, 200))) > 24


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_never_shows_and_stays_where_the_format_has_it(mode):
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, 640).astype(np.uint8), (427, 1)))
    image = PHOTO.convert("L" if mode == "LA" else "RGB")
    image.putalpha(ramp)
    data = encoded(image.quantize(64, Image.Quantize.FASTOCTREE) if mode == "P" else image, "PNG")
    wanted = shrunk(Image.fromarray(decode(data)), (300, 200))
    for kind in ("jpeg", "png", "webp"):
        made = reencode(data, "photo", Reencoded(max_side=300, format=kind))
        assert psnr(decode(made), wanted) > 28, kind
        assert opened(made).has_transparency_data == (kind != "jpeg")
        if kind == "png":
            alpha = np.asarray(opened(made).getchannel("A"))
            assert alpha[:, 0].max() < 60
            assert alpha[:, -1].min() > 190


def test_of_16_bits_the_upper_8_stay():
    grey = np.asarray(PHOTO.convert("L")).astype(np.uint16) << 8 | 0x55
    made = reencode(encoded(Image.fromarray(grey), "PNG"), "photo", Reencoded(max_side=300))
    assert psnr(decode(made), shrunk(PHOTO.convert("L"), (300, 200))) > 30


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    made = reencode(data, "film", Reencoded(max_side=30))
    assert opened(made).size == (30, 20)
    assert psnr(decode(made), np.asarray(frames[0].resize((30, 20)))) > 40


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 2)])
@pytest.mark.parametrize("kind", ["jpeg", "webp", "png"])
def test_tiny_and_thin_images(size, kind):
    for source in ("PNG", "JPEG"):
        how = Reencoded(max_side=100, format=kind)
        made = reencode(encoded(Image.new("RGB", size, "red"), source), "thin", how)
        assert opened(made).size == how.size(*size)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_is_small_enough_keeps_its_pixels_and_loses_its_metadata(progressive):
    plain = encoded(PHOTO, quality=75, progressive=progressive)
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    tagged = encoded(
        PHOTO, quality=75, progressive=progressive, exif=exif, icc_profile=SRGB, comment=b"mine", xmp=b"<xmp/>"
    )
    assert tagged != plain
    assert reencode(tagged, "photo", Reencoded(max_side=640)) == plain
    assert reencode(plain, "photo", Reencoded(max_side=640)) == plain


@pytest.mark.parametrize("progressive", [False, True])
def test_a_kept_jpeg_loses_what_a_camera_appended(progressive):
    options = {"quality": 75, "progressive": progressive, "restart_marker_blocks": 4}
    plain = encoded(PHOTO, **options)
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    two = encoded(PHOTO, "MPO", save_all=True, append_images=[PHOTO.rotate(180)], exif=exif, **options)
    assert len(two) > 1.9 * len(plain)
    assert reencode(two, "photo", Reencoded(max_side=640)) == plain
    assert reencode(plain + b"a film", "photo", Reencoded(max_side=640)) == plain
    assert reencode(memoryview(plain + b"a film"), "photo", Reencoded(max_side=640)) == plain


def test_a_small_jpeg_is_encoded_again_where_that_saves_bytes_or_changes_the_picture():
    small = encoded(PHOTO, quality=75)
    fine = encoded(PHOTO, quality=98)
    made = reencode(fine, "photo", Reencoded(max_side=640, quality=80))
    assert len(made) < len(fine) / 2
    assert reencode(small, "photo", Reencoded(quality=60)) != small
    exif = Image.Exif()
    exif[0x0112] = 3
    assert (
        psnr(decode(reencode(encoded(PHOTO, quality=75, exif=exif), "", Reencoded())), decode(small)[::-1, ::-1]) > 30
    )
    profiled = encoded(PHOTO, quality=75, icc_profile=swapped_profile())
    assert psnr(decode(reencode(profiled, "", Reencoded())), decode(small)[:, :, ::-1]) > 30
    assert probe(reencode(small, "photo", Reencoded(format="png"))).format == "PNG"


def test_a_small_webp_is_kept_if_it_is_nothing_but_a_lossy_picture():
    small = encoded(PHOTO, "WEBP", quality=70)
    how = Reencoded(max_side=640, format="webp")
    assert reencode(small, "photo", how) == small
    tagged = encoded(PHOTO, "WEBP", quality=70, icc_profile=SRGB)
    assert "icc_profile" not in opened(reencode(tagged, "photo", how)).info


def test_a_profile_in_many_segments_is_read_whole():
    profile = swapped_profile() + bytes(200_000)
    data = encoded(PHOTO, icc_profile=profile)
    segments = segments_of(data)
    assert segments is not None
    assert colour_profile(data, segments) == profile
    broken = data.replace(b"ICC_PROFILE\0\2", b"ICC_PROFILE\0\7", 1)
    segments = segments_of(broken)
    assert segments is not None
    assert colour_profile(broken, segments) is None


@given(st.data())
def test_no_bytes_make_it_fail_in_any_other_way(data):
    image = bytearray(encoded(PHOTO.resize((40, 30)), data.draw(st.sampled_from(["JPEG", "PNG", "WEBP"])),
                              icc_profile=swapped_profile()))  # fmt: skip
    for _ in range(data.draw(st.integers(1, 4))):
        image[data.draw(st.integers(0, min(len(image), 900) - 1))] = data.draw(st.integers(0, 255))
    how = Reencoded(max_side=data.draw(st.sampled_from([10, 400])), format=data.draw(st.sampled_from(["jpeg", "webp"])))
    with suppress(DatasetError):
        decode(reencode(bytes(image[: data.draw(st.integers(0, len(image)))]), "fuzzed", how))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "zero bytes"),
        (encoded(PHOTO, "PNG")[:-9], "a truncated PNG"),
        (b"not an image", "no known image format"),
        (encoded(PHOTO)[:9000], "truncated"),
        (encoded(PHOTO.convert("L").convert("F"), "TIFF"), "floating-point"),
        (encoded(Image.new("L", (20_000, 1)), "PNG"), "fits into a WEBP file"),
    ],
)
def test_what_cannot_be_encoded_is_an_error_that_names_it(data, found):
    with pytest.raises(DatasetError, match="photo") as raised:
        reencode(data, "photo", Reencoded(format="webp"))
    assert found in str(raised.value)


def test_the_encoder_build_names_versions():
    assert f"pillow-{Image.__version__}" in encoder_build("jpeg")
    assert len({encoder_build("jpeg"), encoder_build("webp"), encoder_build("png")}) == 3
