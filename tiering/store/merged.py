"""What several stores are together: their classes, splits and settings merged into one manifest.

Classes are merged by name. Each keeps the number that it has in the first store that has it, unless a class of an
earlier store has that number. Then it gets the next number after the largest. Splits are merged by name, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tiering.errors import UsageError
from tiering.images.shape import PixelShape
from tiering.sources.labels.classes import ClassMap, map_of
from tiering.store.manifest import Manifest, SourceRecord
from tiering.store.protocol import Store, shape_of
from tiering.store.schema import Field
from tiering.store.selection import unselected
from tiering.store.settings import Settings
from tiering.text import first_few

#: Numbers of splits are int8.
_MOST_SPLITS = 127
_SHOWN = 5


def merged_classes(manifests: Sequence[Manifest]) -> ClassMap:
    """Return the classes of several stores."""
    number_of: dict[str, int] = {}
    taken: set[int] = set()
    for manifest in manifests:
        new = {name: number for number, name in manifest.classes.items() if name not in number_of}
        kept = {name: number for name, number in new.items() if number not in taken}
        number_of |= kept
        taken |= set(kept.values())
        for number, name in enumerate(sorted(new.keys() - kept.keys()), max(taken, default=-1) + 1):
            number_of[name] = number
            taken.add(number)
    return map_of({number: name for name, number in number_of.items()})


def new_numbers(manifest: Manifest, merged: ClassMap) -> dict[int, int]:
    """Return the merged number of each class of a store."""
    number_of = dict(zip(merged.names, merged.numbers, strict=True))
    return {number: number_of[name] for number, name in manifest.classes.items()}


def changed_numbers(stores: Sequence[Store], merged: ClassMap) -> str:
    """Describe the classes that have another number in their own store; "" if there are none."""
    changed = [
        f"{manifest.classes[old]} is {new} ({old} in {store.location})"
        for store in stores
        for manifest in (unselected(store).manifest,)
        for old, new in new_numbers(manifest, merged).items()
        if old != new
    ]
    return first_few(changed, _SHOWN)


def merged_splits(manifests: Sequence[Manifest]) -> list[str]:
    """Return the names of the splits of several stores. Raises UsageError for too many."""
    names = list(dict.fromkeys(name for manifest in manifests for name in manifest.splits))
    if len(names) > _MOST_SPLITS:
        raise UsageError("stores", rule=f"must have at most {_MOST_SPLITS} splits in all", found=f"{len(names):,}")
    return names


def merged_manifest(stores: Sequence[Store], classes: ClassMap, splits: list[str], fields: Sequence[Field]) -> Manifest:
    """Return the manifest of several stores together. Its kind is that of the first packed store, or "folder"."""
    manifests = [store.manifest for store in stores]
    kinds = [each.kind for each in manifests]
    packed = [each for each in manifests if each.kind != "folder"]
    fingerprints = " ".join(each.source.fingerprint for each in manifests)
    return Manifest(
        kind=packed[0].kind if packed else kinds[0],
        samples=sum(len(store) for store in stores),
        image_bytes=sum(each.image_bytes for each in manifests),
        layout=" and ".join(dict.fromkeys(each.layout for each in manifests)),
        labels=list(classes.names),
        label_numbers=list(classes.numbers),
        splits=splits,
        fields=list(fields),
        left_out=sum(each.left_out for each in manifests),
        settings=_settings(packed),
        source=SourceRecord(
            url=" + ".join(each.source.url for each in manifests),
            fingerprint=hashlib.sha256(fingerprints.encode()).hexdigest(),
        ),
    )


def _settings(packed: Sequence[Manifest]) -> Settings | None:
    """Return the settings of the first store, which stand for all but for how they re-encode."""
    first = packed[0].settings if packed else None
    alike = {each.settings.reencoded if each.settings else None for each in packed}
    return first if first is None or len(alike) == 1 else first.model_copy(update={"reencoded": None})


def refuse_mixed_images(stores: Sequence[Store]) -> None:
    """Raise UsageError unless all stores hold encoded images, or all hold pixels of one shape."""
    forms = {store: shape_of(unselected(store).manifest) for store in stores}
    first = forms[stores[0]]
    for store, shape in forms.items():
        if shape != first:
            both = ((stores[0], first), (store, shape))
            found = " and ".join(f"{_described(each)} in {where.location}" for where, each in both)
            raise UsageError(
                "stores", expected="encoded images in all stores, or pixels of one shape and type", found=found,
                action="Convert one of them again, with the `pixels` of the other.",
            )  # fmt: skip


def _described(shape: PixelShape | None) -> str:
    return "encoded images" if shape is None else f"pixels of {' x '.join(map(str, shape.sides))}, {shape.dtype},"
