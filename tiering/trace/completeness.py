"""What a trace shows of a run, where its sources show less than every call: its figures are then missing, not 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from tiering.trace.trace_profile import TraceProfile

#: The figures of a profile that need opens and closes.
_OF_OPENS = (
    *("opens", "opens_per_file", "opens_deviation", "reopened_share", "reopened_once_share", "reopened_rarely_share"),
    *("untouched_share", "untouched_output_share", "whole_file_share"),
)
#: Those that need the file of each read and write.
_OF_NAMES = (
    *("files", "read_only_files", "write_only_files", "read_write_files", "file_size_mean", "file_size_spread"),
    *("file_coverage", "order_randomness", "unique_bytes_read", "unique_bytes_written", "overwrite_factor"),
    *("bytes_shared", "reads_again", "epochs", "coverage"),
)
#: Those that need to know which bytes were read at least once.
_OF_EXTENT = ("file_coverage", "unique_bytes_read", "coverage")
#: Bytes of mapped files that were perhaps read too do not matter up to these shares of the bytes read: for the first
#: time, and in all. Reads are counted in the middle of their bounds, so the sum of many is far more exact than the
#: sum of the bounds (benchmarks/watch_truth.py).
_UNREAD, _UNSURE = 0.1, 0.5


class Completeness(BaseModel):
    """What the sources of a trace showed.

    Attributes:
        opens: Whether opens and closes are in the trace.
        names: Whether it has the file of nearly every byte that was read or written.
        reads, writes: Calls that the kernel counted, where events stand for many; None where each call is an event.
        mapped: Whether reads of mapped files are among the reads.
        unplaced_file_bytes: B of the files whose reads have a name but no place; None if there are none.
        mapped_once: Whether the first touch of each mapped page is among the reads. Later touches may be missing.
        mapped_unsure: B of mapped files that may have been read beyond those that are counted.
        mapped_read: B of the reads of mapped files.
        mapped_files: B of the files that were mapped; None if some are unknown.
    """

    model_config = ConfigDict(frozen=True)

    opens: bool = True
    names: bool = True
    reads: int | None = None
    writes: int | None = None
    mapped: bool = False
    mapped_once: bool = False
    mapped_unsure: int = 0
    mapped_read: int = 0
    mapped_files: int | None = None
    unplaced_file_bytes: int | None = None

    def applied(self, profile: TraceProfile, dataset_bytes: int | None) -> TraceProfile:
        """Return a profile without the figures that the trace does not show.

        Where the places of reads are unknown, the passes over a dataset follow from its size, and so does how much was
        read again at least. dataset_bytes: B of the dataset, which all reads are taken to be of.
        """
        missing: set[str] = set() if self.opens else set(_OF_OPENS)
        if not self.names:
            missing |= set(_OF_NAMES)
        unread = self._unread(profile)
        unplaced = self.unplaced_file_bytes is not None and not profile.is_placed
        if unplaced or unread > _UNREAD * (profile.unique_bytes_read or 0):
            missing |= set(_OF_EXTENT)
        known: dict[str, object] = self._read_first_at_most(profile) | {
            "bytes_mapped_unread": unread,
            "mapped_seen": self.mapped,
            "mapped_once_seen": self.mapped_once,
            "bytes_mapped_unsure": self.mapped_unsure,
        }
        if not self.names:
            known |= {
                name: calls for name, calls in (("reads", self.reads), ("writes", self.writes)) if calls is not None
            }
        if not profile.is_placed:
            known |= self._read_again(profile, dataset_bytes)
        if self.mapped_unsure > _UNSURE * profile.bytes_read:
            # How often the dataset was passed over is not known, whatever else follows from sizes.
            known["epochs"] = None
        return profile.model_copy(update=dict.fromkeys(missing) | known)

    def _read_first_at_most(self, profile: TraceProfile) -> dict[str, object]:
        """Return the figures that follow from the sizes of mapped files: what exceeds them was read again."""
        if not self.mapped_files or not profile.bytes_read:
            return {}
        first = self.mapped_files + max(0, profile.bytes_read - self.mapped_read)
        again = max(profile.bytes_reread, profile.bytes_read - first)
        return {
            "bytes_reread": again,
            "reread_share": again / (profile.bytes_read + profile.bytes_written),
            "epochs": profile.bytes_read / max(1, profile.bytes_read - again),
        }

    def _unread(self, profile: TraceProfile) -> int:
        """Return the B of mapped files that may have been read for the first time beyond those that are counted."""
        if self.mapped_files is None or profile.unique_bytes_read is None:
            return self.mapped_unsure
        # The others among the distinct bytes may all be of files that were not mapped.
        others = max(0, profile.bytes_read - self.mapped_read)
        unread = self.mapped_files - max(0, profile.unique_bytes_read - others)
        return max(0, min(self.mapped_unsure, unread))

    def _read_again(self, profile: TraceProfile, dataset_bytes: int | None) -> dict[str, object]:
        """Return the figures that follow from sizes: what exceeds the size of a file or dataset was read again."""
        if dataset_bytes:
            again, epochs = profile.bytes_read - dataset_bytes, profile.bytes_read / dataset_bytes
        elif self.names and self.unplaced_file_bytes:
            again = profile.bytes_unplaced - self.unplaced_file_bytes
            epochs = profile.bytes_read / max(1, profile.bytes_read - max(again, profile.bytes_reread))
        else:
            return {}
        again = max(profile.bytes_reread, again)
        return {
            "epochs": epochs,
            "bytes_reread": again,
            "reread_share": again / (profile.bytes_read + profile.bytes_written),
        }


def least(several: Sequence[Completeness]) -> Completeness:
    """Return what all parts of a trace showed."""
    if len(several) == 1:
        return several[0]
    counted = all(each.reads is not None and each.writes is not None for each in several)
    return Completeness(
        opens=all(each.opens for each in several),
        names=all(each.names for each in several),
        reads=sum(each.reads or 0 for each in several) if counted else None,
        writes=sum(each.writes or 0 for each in several) if counted else None,
        unplaced_file_bytes=None,
        mapped=all(each.mapped for each in several),
        mapped_once=all(each.mapped_once or each.mapped for each in several),
        mapped_unsure=sum(each.mapped_unsure for each in several),
        mapped_read=sum(each.mapped_read for each in several),
    )
