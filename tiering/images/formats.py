"""Recognise images: by their first bytes where a file is read anyway, else by their name.

This module imports only the standard library; see tiering.sources.trees.entries for the reason.
"""

from __future__ import annotations

import re
from typing import Final

#: How many bytes at the start of a file are enough to recognise its format.
HEAD: Final = 512

#: Extensions of image files.
IMAGE_EXTENSIONS: Final = frozenset(
    b"jpg jpeg jpe jfif png apng bmp dib gif webp tif tiff ppm pgm pbm pnm jp2 j2k jpf jpx j2c jpc avif avifs heic "
    b"heif hif jxl tga qoi dds psd ico cur icns pcx sgi xbm xpm".split()
)

#: Image formats that no decoder here reads, by extension.
_RAW: Final = dict.fromkeys(
    b"cr2 cr3 crw nef nrw arw sr2 srf dng orf rw2 raf pef srw x3f iiq 3fr erf kdc mrw".split(), "a camera's raw image"
)
_UNPACKED: Final = _RAW | {
    b"svg": "an SVG drawing", b"svgz": "an SVG drawing", b"eps": "an EPS drawing", b"wmf": "a WMF drawing",
    b"emf": "an EMF drawing", b"exr": "an OpenEXR image", b"dcm": "a DICOM image", b"jxr": "a JPEG XR image",
    b"wdp": "a JPEG XR image", b"hdp": "a JPEG XR image", b"bpg": "a BPG image", b"flif": "a FLIF image",
}  # fmt: skip

#: Extensions that are never those of an image: text, tables, arrays, models, archives, films and sounds.
_NO_IMAGE: Final = frozenset(
    b"txt text md rst json jsonl ndjson csv tsv parquet arrow feather xml html htm css js yaml yml toml ini cfg conf "
    b"log py ipynb sh bat cpp h rtf tex bib pdf doc docx xls xlsx ppt pptx cls names npy npz mat pkl pickle pt pth "
    b"ckpt safetensors onnx h5 hdf5 lmdb mdb db sqlite tfrecord zip tar gz tgz bz2 xz zst 7z rar mp4 avi mov mkv webm "
    b"mpg mp3 wav flac ogg m4a srt vtt dvc md5 sha1 sha256".split()
)

#: Formats without magic bytes: Pillow's name, by extension.
_BY_NAME: Final = {b"tga": "TGA", b"pcx": "PCX", b"xbm": "XBM", b"dib": "DIB", b"ico": "ICO", b"cur": "CUR"}
UNMARKED: Final = frozenset(_BY_NAME.values())

#: Magic bytes at the start of a file, and Pillow's name of the format.
_MARKS: Final[tuple[tuple[bytes, str], ...]] = (
    (b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"),  # the last two are BigTIFF
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"), (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"), (b"\xff\x0a", "JXL"),
    (b"DDS ", "DDS"), (b"qoif", "QOI"), (b"8BPS\0\1", "PSD"), (b"icns", "ICNS"), (b"/* XPM */", "XPM"),
    (b"\x01\xda\0\1", "SGI"), (b"\x01\xda\0\2", "SGI"), (b"\x01\xda\1\1", "SGI"), (b"\x01\xda\1\2", "SGI"),
    (b"\x59\xa6\x6a\x95", "SUN"), (b"SIMPLE  =", "FITS"), (b"BLP1", "BLP"), (b"BLP2", "BLP"),
    (b"DanM", "MSP"), (b"LinS", "MSP"), (b"\xb1\x68\xde\x3a", "DCX"),
    (b"FTEX", "FTEX"), (b"\x80\xe8\0\0", "PIXAR"), (b"\0\0\0\0\0\0\0\4", "MCIDAS"), (b"P7 332", "XVTHUMB"),
)  # fmt: skip
_UNPACKED_MARKS: Final = (
    (b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"), (b"#?RGBE", "a Radiance HDR image"),
    (b"II\xbc\x01", "a JPEG XR image"), (b"BPG\xfb", "a BPG image"), (b"FLIF", "a FLIF image"),
    (b"FUJIFILMCCD-RAW", "a camera's raw image"), (b"IIRO", "a camera's raw image"), (b"IIRS", "a camera's raw image"),
    (b"IIU\0", "a camera's raw image"),
)  # fmt: skip
#: Usual extensions of formats, by Pillow's name. Those of the others are the name in lower case.
_USUAL_EXTENSIONS: Final = {"JPEG": "jpg", "TIFF": "tif", "JPEG2000": "jp2"}

_PNM: Final = re.compile(rb"P[1-6](\s+|\s*#[^\n]*\n)+\d+(\s+|\s*#[^\n]*\n)+\d+\s")
_SVG: Final = re.compile(rb"\s*(\xef\xbb\xbf)?(<\?xml[^>]*>|<!--.*?-->|<!DOCTYPE svg[^>]*>|\s)*<svg[\s>]", re.DOTALL)
_BMP_HEADERS: Final = (12, 16, 40, 52, 56, 64, 108, 124)
_HEIF_BRANDS: Final = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")

#: Texts that stand in a file for an image that a tool has not fetched, and how to fetch it.
_POINTERS: Final = (
    (b"version https://git-lfs.github.com/spec/", "a git-lfs pointer: git lfs pull fetches it"),
    (b"version https://hawser.github.com/spec/", "a git-lfs pointer: git lfs pull fetches it"),
    (b"# xet version ", "a git-xet pointer"),
    (b"/annex/objects/", "a git-annex pointer: git annex get fetches it"),
)
_ANNEX_LINK: Final = re.compile(rb"(\.\./)*(\./)?\.git/annex/objects/[^\n]+\n?")


def extension_of(name: bytes) -> bytes:
    """Return the extension of a name in lower case, b"" for none."""
    return name.rpartition(b".")[2].lower() if b"." in name else b""


def is_image_name(name: bytes) -> bool:
    """Return whether a name has an image extension, in upper or lower case: IMAGE_EXTENSIONS."""
    _, dot, extension = name.rpartition(b".")
    return bool(dot) and extension.lower() in IMAGE_EXTENSIONS


def is_array_name(name: bytes) -> bool:
    """Return whether a name is that of a .npy file, NumPy's format for one array."""
    return extension_of(name) == b"npy"


def is_raw_name(name: bytes) -> bool:
    """Return whether a name may be that of a raw array, a file of numbers without a header: .raw or .bin."""
    return extension_of(name) in (b"raw", b"bin")


def needs_a_look(name: bytes) -> bool:
    """Return whether only a file's first bytes can show if it is an image: photo.jpg.1, photo, photo.bin.

    Names such as photo.json are trusted, since every look at a remote file costs a request.
    """
    return not is_image_name(name) and extension_of(name) not in _NO_IMAGE


def format_of(head: bytes, name: bytes = b"") -> str | None:
    """Return Pillow's name of an image's format, or None if it is not an image.

    head: the first HEAD bytes, or fewer for a shorter file. name: its extension decides for formats without magic
    bytes. Camera raw images begin like a TIFF; `unpacked` recognises them.
    """
    marked = next((kind for mark, kind in _MARKS if head.startswith(mark)), None) or _of_structure(head)
    return marked or (_BY_NAME.get(extension_of(name)) if head and not unfetched(head) else None)


def usual_extension(head: bytes) -> str | None:
    """Return the usual extension of an image's format, such as "jpg", or None if it is not an image.

    head: as for format_of.
    """
    found = format_of(head)
    return None if found is None else _USUAL_EXTENSIONS.get(found, found.lower())


def unpacked(head: bytes, name: bytes) -> str | None:
    """Describe an image that no decoder here reads; None for anything else. head, name: as for format_of."""
    extension = extension_of(name)
    for mark, what in _UNPACKED_MARKS:
        if head.startswith(mark):
            return what
    if head[4:12] == b"ftypcrx " or head[8:11] == b"CR\2":
        return "a camera's raw image"
    if head[128:132] == b"DICM":
        return "a DICOM image"
    if head[:1] in (b"<", b"\xef", b" ", b"\n", b"\t", b"\r") and _SVG.match(head):
        return "an SVG drawing"
    named = _UNPACKED.get(extension)
    # A photo with a wrong extension is packed by its content. Only raw images begin like another format.
    return named if named and (extension in _RAW or format_of(head) is None) else None


def unfetched(head: bytes) -> str | None:
    """Describe the pointer that a file holds instead of an image; None if it is no pointer. head: as for format_of."""
    for mark, what in _POINTERS:
        if head.startswith(mark):
            return what
    if b".git/annex/objects/" in head and _ANNEX_LINK.fullmatch(head):
        return "a git-annex link as text: git annex get fetches it"
    return None


def _of_structure(head: bytes) -> str | None:
    """Recognise the formats that need more than magic bytes."""
    found: str | None = None
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        found = "WEBP"
    elif head[4:8] == b"ftyp":
        found = _of_brands(head)
    elif head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        found = "BMP"
    elif head[:1] == b"P" and _PNM.match(head):
        found = "PPM"
    elif head[4:6] in (b"\x11\xaf", b"\x12\xaf") and head[14:16] in (b"\0\0", b"\3\0"):
        found = "FLI"
    elif head[20:24] == b"GIMP":
        found = "GBR"
    elif head[:2] == b"\0\0" and head[2:4] in (b"\1\0", b"\2\0") and _is_icon(head):
        found = "ICO" if head[2] == 1 else "CUR"
    return found


def _of_brands(head: bytes) -> str | None:
    """Recognise AVIF and HEIC by the brands in their first box (ISO/IEC 14496-12)."""
    box = head[: min(int.from_bytes(head[:4]), len(head))]
    brands = [box[at : at + 4] for at in (8, *range(16, len(box), 4))]
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    return "HEIF" if any(brand in _HEIF_BRANDS for brand in brands) else None


def _is_icon(head: bytes) -> bool:
    """Return whether the first picture directly follows the table of pictures, as in every icon."""
    count = int.from_bytes(head[4:6], "little")
    return 0 < count < 256 and head[9:10] == b"\0" and int.from_bytes(head[18:22], "little") == 6 + 16 * count
