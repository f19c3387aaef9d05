"""tiering convert: pack images into a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli.choices import MOST_SEED, MOST_WORKERS
from tiering.cli.field_trees import FieldTrees, patterns_of
from tiering.cli.output import JsonFlag, emit_json, note, out
from tiering.cli.progress import progress
from tiering.errors import UsageError, command
from tiering.literals import Check, EncodedFormat, OnBadImage, PackedFormat, PixelType, ResizeMode
from tiering.sources.account_lines import account_lines
from tiering.units import counted, format_bytes, parse_capacity

if TYPE_CHECKING:
    from tiering.packing.executors import Dask as Cluster

Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST_WORKERS,
        metavar="N",
        help="Number of processes. By default one for each usable core, or only this one where that is quicker.",
    ),
]
Dask = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Pack on a Dask cluster, such as tcp://host:8786. local starts one on this machine."
    ),
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Discard an unfinished conversion and start from the beginning.")
]
BadFiles = Annotated[
    OnBadImage,
    typer.Option(
        metavar="HOW",
        help="What to do with images that cannot be packed, broken links and unreadable directories. fail: list them "
        "all and fail at the end. skip: leave them out. quarantine: leave them out and keep copies.",
    ),
]
ImagesOnly = Annotated[
    bool, typer.Option("--images-only", help="Leave out masks, captions and other files beside an image.")
]
HowClosely = Annotated[
    Check,
    typer.Option(
        help="quick: check the beginning and end of each image. decode: decode each image, which takes longer."
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD=COLUMN,...",
        help="Columns of a table, by name or by number from 0: image=path,label=Id,caption=text or image=0,label=1. "
        "By default every column becomes a field.",
    ),
]
TableRoot = Annotated[
    str | None,
    typer.Option(
        "--root",
        metavar="DIRECTORY",
        help="Directory from which the paths in a table start. By default the directory of the table.",
    ),
]
Progress = Annotated[bool | None, typer.Option("--progress/--no-progress", help="Show progress on stderr.")]


def crew(workers: int | None, dask: str | None) -> int | Cluster | None:
    """Return what packs shards, by the values of --workers and --dask."""
    from tiering.packing.executors import Dask as Cluster

    return Cluster(dask) if dask else workers


def convert(
    dataset: Annotated[
        str, typer.Argument(help="Images: a directory, tar files, a table or a packed dataset. Path or URL.")
    ],
    store: Annotated[
        str, typer.Argument(help="Store to create. Path or URL. Readers cannot open it before it is finished.")
    ],
    to: Annotated[PackedFormat | None, typer.Option(help="Packed format.")] = None,
    codec: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Codec of Zarr chunks: none, lz4, zstd:3, blosc-lz4 and others. auto tries some and picks one.",
        ),
    ] = "auto",
    pixels: Annotated[bool, typer.Option("--pixels", help="Zarr: store decoded images of one shape.")] = False,
    resize: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Resize images to one shape, such as 224x224. Implies --pixels. With --channels and --dtype, .raw and "
            ".bin files are arrays of this shape.",
        ),
    ] = None,
    resize_mode: Annotated[
        ResizeMode, typer.Option(metavar="HOW", help="How to resize: crop, pad or stretch.")
    ] = "crop",
    channels: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_535,
            metavar="N",
            help="Channels of the pixels; implies --pixels. By default 1 if all images are grey, 3 if some have "
            "colour, and all bands of images with more.",
        ),
    ] = None,
    dtype: Annotated[
        PixelType | None,
        typer.Option(
            metavar="TYPE",
            help="Type of the pixels; implies --pixels. uint8 narrows 16 bits to 8. uint16 takes only images of 16 "
            "bits, float32 all images. By default uint8, and images of more bits are refused.",
        ),
    ] = None,
    max_side: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_535,
            metavar="PIXELS",
            help="Re-encode images for training: shrink those whose longest side is longer. The source stays as it is.",
        ),
    ] = None,
    short_side: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_535,
            metavar="PIXELS",
            help="Re-encode images: shrink those whose shorter side is longer. Not with --max-side.",
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            metavar="N",
            help="Quality of re-encoded images, 90 by default. Re-encodes without a size, too.",
        ),
    ] = None,
    format: Annotated[
        EncodedFormat | None,
        typer.Option(help="Format of re-encoded images, jpeg by default. Re-encodes without a size, too."),
    ] = None,
    shard_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="Largest size of a shard, such as 256MiB. By default it depends on the data."
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, max=MOST_SEED, metavar="N", help="Seed of the random order in which images are packed."),
    ] = 0,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|STORE",
            help="Class numbers to use: those of another store, or of a file with NAME,NUMBER or a name on each line.",
        ),
    ] = None,
    columns: Columns = None,
    root: TableRoot = None,
    field: FieldTrees = None,
    on_error: BadFiles = "fail",
    check: HowClosely = "quick",
    images_only: ImagesOnly = False,
    workers: Workers = None,
    dask: Dask = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing store.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue an unfinished conversion; fail if there is none.")
    ] = False,
    restart: Restart = False,
    show: Progress = None,
    json: JsonFlag = False,
) -> None:
    """Pack images into an LMDB or Zarr store.

    The store holds the original files, byte for byte, in a seeded random order; with --pixels it holds decoded images,
    with --max-side or --short-side smaller ones: upright, in sRGB, and without metadata. The source is never changed.
    To continue an interrupted conversion, run the same command again.

    Example: `tiering convert photos/ photos.lmdb --to lmdb`
    """
    from tiering.images.reencoded import Reencoded
    from tiering.images.shape import parse_size
    from tiering.packing.commit import check_unfinished
    from tiering.packing.convert import convert as run
    from tiering.packing.settings import Pixels, Shards
    from tiering.sources.source import TableSource
    from tiering.storage.location import Location

    if to is None:
        if resume:
            check_unfinished(Location.of(store), dataset, overwrite=overwrite)
        raise UsageError("--to", expected="lmdb or zarr", found="nothing", action="For example: --to lmdb")
    if resume and restart:
        raise UsageError("--resume and --restart", expected="one of them", found="both", action="Leave one out.")
    shape = None
    if pixels or resize is not None or channels is not None or dtype is not None:
        height, width = (None, None) if resize is None else parse_size(resize)
        shape = Pixels(height, width, resize_mode, channels, dtype)
    encode = None
    if any(given is not None for given in (max_side, short_side, quality, format)):
        encode = Reencoded(max_side, short_side, 90 if quality is None else quality, format or "jpeg")
    with progress("packing", show=show) as advance:
        manifest = run(
            TableSource(dataset, columns, root) if columns or root else dataset,
            store,
            to,
            pixels=shape,
            encode=encode,
            codec=codec,
            shards=Shards(None if shard_size is None else parse_capacity(shard_size), seed),
            classes=classes,
            fields=patterns_of(field),
            images_only=images_only,
            on_error=on_error,
            check=check,
            overwrite=overwrite,
            resume="only" if resume else "never" if restart else "auto",
            workers=crew(workers, dask),
            progress=advance,
        )
    if json:
        emit_json(manifest)
        return
    shards = counted(len(manifest.shards), "shard")
    stored = f"{counted(manifest.samples, 'sample')}, {format_bytes(manifest.image_bytes)}, {shards}"
    decoded = shape is not None or encode is not None or check == "decode"
    out().say(f"{store}: {stored}{'' if decoded else ', pixels not decoded (--check decode)'}")
    for line in account_lines(manifest.account):
        out().say(line)
    if manifest.account and manifest.account.left_out:
        note(f"Everything left out is listed in {command(f'{store}/left-out.tsv')}")
    note(f"Next: {command('tiering', 'verify', store, '--source', dataset)}")
