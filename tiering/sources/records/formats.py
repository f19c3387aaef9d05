"""Opens a packed dataset as the format that it has."""

from __future__ import annotations

from tiering.sources.records.record import RecordFormat

# Each format is imported when it is needed, because a process needs at most one.


def files_of(kind: str, found: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files whose ranges are samples. kind: a RecordKind. found: the files that show it: perhaps indexes."""
    if kind == "mds":
        from tiering.sources.records.mds import mds_files  # noqa: PLC0415

        return mds_files(found)
    if kind == "litdata":
        from tiering.sources.records.litdata import litdata_files  # noqa: PLC0415

        return litdata_files(found)
    return found


def open_records(kind: str, files: tuple[str, ...], *, compressed: bool) -> RecordFormat:
    """Open a packed dataset.

    kind: a RecordKind. files: as files_of returns them. compressed: as must_unpack returns it.
    Raises DatasetError if they are something else.
    """
    if kind == "tfrecord":
        from tiering.sources.records.tfrecord import TFRecords  # noqa: PLC0415

        return TFRecords(files, compressed=compressed)
    if kind == "mds":
        from tiering.sources.records.mds import MdsShards  # noqa: PLC0415

        return MdsShards(files)
    if kind == "litdata":
        from tiering.sources.records.litdata import LitDataChunks  # noqa: PLC0415

        return LitDataChunks(files)
    if kind == "lmdb":
        from tiering.sources.records.lmdb_values import LmdbValues  # noqa: PLC0415

        return LmdbValues(files)
    from tiering.sources.records.parquet_images import ParquetImages  # noqa: PLC0415

    return ParquetImages(files)


def must_unpack(kind: str, files: tuple[str, ...]) -> bool:
    """Return whether samples are no ranges of the files as they are, because these are compressed or hold pixels."""
    if kind == "tfrecord":
        from tiering.sources.records.tfrecord import is_compressed  # noqa: PLC0415

        return any(file.lower().endswith(".gz") for file in files) or is_compressed(files[0])
    if kind == "mds":
        from tiering.sources.records.mds import MdsShards  # noqa: PLC0415

        return MdsShards(files).compressed
    if kind == "litdata":
        from tiering.sources.records.litdata import LitDataChunks  # noqa: PLC0415

        return LitDataChunks(files).compressed
    return kind == "parquet"
