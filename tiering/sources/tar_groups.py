"""Group the members of a tar file into samples: neighbours with the same name up to the first dot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from tiering.errors import DatasetError
from tiering.images.formats import HEAD, is_image_name
from tiering.sources.account import Ledger
from tiering.sources.left_out import NOT_AN_IMAGE, TAR_LINK
from tiering.sources.number_files import LONGEST_CLASS, class_of_text
from tiering.sources.tar_members import Member, members, opened
from tiering.sources.trees.contents import look_at_head
from tiering.sources.trees.remote import hash63
from tiering.sources.trees.siblings import numbered
from tiering.storage.failures import remote_errors
from tiering.text import display

#: How many members of one key are held at once if the images are complete samples, and in any case.
_HELD: Final = 1000
MOST_MEMBERS: Final = 100_000


class OtherMember(NamedTuple):
    """A member that is neither image nor label. kind, reason: why it is left out if it is beside no image."""

    key: bytes
    size: int
    version: int
    offset: int
    kind: str
    reason: str


@dataclass(slots=True)
class TarSample:
    """Neighbouring members with one WebDataset key, which is their name up to its first dot.

    images: key, size, version and offset of each.
    labels: by the name of the `.cls` member without its extension. That is the key itself (1.jpg and 1.cls), or the
    longer name of one image (22.05.jpg and 22.05.cls).
    label_files: key and size of each. others: the members that are neither image nor label. last: the latest key.
    failed: whether one of its images is left out, because its format is not packed or its link has no target.
    """

    stem: bytes
    images: list[tuple[bytes, int, int, int]] = field(default_factory=list)
    labels: dict[bytes, str | None] = field(default_factory=dict)
    label_files: list[tuple[bytes, int]] = field(default_factory=list)
    others: list[OtherMember] = field(default_factory=list)
    last: bytes = b""
    failed: bool = False

    def held(self) -> int:
        """Return how many members are held."""
        return len(self.images) + len(self.label_files) + len(self.others)

    def is_whole(self, key: bytes) -> bool:
        """Return whether the members so far are complete samples, and one with this key starts another one."""
        named = {image.rpartition(b".")[0] for image, *_ in self.images}
        if not self.images or numbered(last_part(key)) == numbered(last_part(self.last)):
            return False
        return not self.labels or self.labels.keys() == named

    def label_of(self, image: bytes) -> str | None:
        """Return the label of an image: that of its own name, or that of the sample."""
        return self.labels.get(image.rpartition(b".")[0], self.labels.get(self.stem))

    def unused(self) -> bytes:
        """Return a label that belongs to no image, or b""."""
        used = {self.stem, *(key.rpartition(b".")[0] for key, *_ in self.images)} if self.labels else set()
        return next((name for name in self.labels if name not in used), b"")


def last_part(key: bytes) -> bytes:
    """Return the name of a member without its folders."""
    return key.rpartition(b"/")[2]


def tar_samples(path: str, prefix: bytes, ledger: Ledger, *, arrays: bool = False) -> Iterator[TarSample]:
    """Yield the samples of a tar file.

    prefix: of its keys. ledger: records members that belong to no sample. arrays: take .npy files and raw arrays as
    images, which they are in tar files without any image.

    Raises DatasetError for a damaged tar and for too many members of one key, MachineError if it cannot be read.
    """
    sample = TarSample(b"")
    # Any OSError below comes from the file system, local or remote.
    with remote_errors(path):
        file, size, version = opened(path)
        with file:
            for member in members(path, file, size):
                if member.kind and member.kind != TAR_LINK:
                    ledger.leave_out(member.kind, prefix + member.key, member.size, member.reason)
                    continue
                folder, slash, name = member.key.rpartition(b"/")
                stem = folder + slash + name.partition(b".")[0]
                if stem != sample.stem or (sample.held() >= _HELD and sample.is_whole(member.key)):
                    yield sample
                    sample = TarSample(stem)
                if sample.held() > MOST_MEMBERS:
                    raise DatasetError(
                        display(path), expected=f"at most {MOST_MEMBERS:,} members of one key",
                        found=f"more of {display(stem)}, the name up to its first dot",
                        action="Give every image a name of its own before the first dot.",
                    )  # fmt: skip
                sample.last = member.key
                if member.kind:
                    ledger.leave_out(member.kind, prefix + member.key, member.size, member.reason)
                    sample.failed = True
                else:
                    _add(sample, file, member, version, ledger, arrays=arrays)
    yield sample


def _add(sample: TarSample, file: BinaryIO, member: Member, version: str, ledger: Ledger, *, arrays: bool) -> None:
    """Add a member to its sample, by its name, or by its first bytes if it does not have an image's name."""
    key, size, offset = member.key, member.size, member.offset
    name = last_part(key)
    kind = reason = ""
    if name.lower().endswith(b".cls"):
        file.seek(offset)
        sample.labels[key[: -len(".cls")]] = class_of_text(file.read(min(size, LONGEST_CLASS)))
        sample.label_files.append((key, size))
        return
    if ledger.is_raw(name, size):
        kind = NOT_AN_IMAGE
    elif not is_image_name(name):
        file.seek(offset)
        kind, reason = look_at_head(file.read(min(size, HEAD)), name)
    changed = hash63(f"{version} {member.changed}")
    if kind and not (arrays and kind == NOT_AN_IMAGE and ledger.may_be_array(name)):
        sample.others.append(OtherMember(key, size, changed, offset, kind, reason))
    else:
        sample.images.append((key, size, changed, offset))
