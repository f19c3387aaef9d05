"""Recognise the annotations of a directory of images by its layout, and open them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Literal, get_args

from tiering.sources.annotations.annotated import Annotations
from tiering.sources.annotations.celeba import ATTRIBUTES, CelebaAnnotations, celeba_lists
from tiering.sources.annotations.coco import CocoAnnotations
from tiering.sources.annotations.coco_documents import coco_files
from tiering.sources.annotations.voc import FOLDERS, VocAnnotations
from tiering.sources.annotations.yolo import YoloAnnotations, is_yolo
from tiering.storage.scratch import scratch_directory

#: Directories of images with annotations of these formats are sources of their own.
AnnotatedKind = Literal["coco", "voc", "yolo", "celeba"]

ANNOTATED_KINDS: Final[frozenset[str]] = frozenset(get_args(AnnotatedKind))

ANNOTATED_TITLES: Final[dict[AnnotatedKind, str]] = {
    "coco": "COCO",
    "voc": "Pascal VOC",
    "yolo": "YOLO",
    "celeba": "CelebA",
}


def annotated_kind(url: str, names: Sequence[bytes]) -> AnnotatedKind | None:
    """Return the format of the annotations of a directory; None if it has none.

    url: path or URL. names: in the directory, without images; those of directories end in "/". Further directories are
    listed only if these names suggest it, and the one above it.
    """
    known = frozenset(names)
    if known >= FOLDERS:
        return "voc"
    if (b"Anno/" in known or any(name.startswith(ATTRIBUTES.encode()) for name in known)) and celeba_lists(url):
        return "celeba"
    if is_yolo(url, known):
        return "yolo"
    return "coco" if coco_files(url) else None


@contextmanager
def opened_annotations(kind: str, url: str, given: tuple[str, ...] = ()) -> Iterator[Annotations]:
    """Open the annotations of a directory. given: documents of COCO to use instead of those that are found."""
    if kind == "voc":
        yield VocAnnotations(url)
    elif kind == "yolo":
        yield YoloAnnotations(url)
    elif kind == "celeba":
        yield CelebaAnnotations(url)
    else:
        with scratch_directory() as scratch:
            yield CocoAnnotations(url, given or coco_files(url), scratch)
