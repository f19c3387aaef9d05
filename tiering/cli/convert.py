"""tiering convert: pack images into a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tiering.cli import completion
from tiering.cli.choices import MOST_SEED, MOST_WORKERS, either
from tiering.cli.field_trees import FieldTrees, patterns_of
from tiering.cli.output import JsonFlag, ProgressFlag, emit_json, note, out
from tiering.cli.panels import INPUT, PACKING, PIXELS, REENCODED, WORK
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
        metavar="COUNT",
        rich_help_panel=WORK,
        help="Processes. By default one for each core, or fewer where that is quicker.",
    ),
]
Dask = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", rich_help_panel=WORK, help="Dask cluster, such as tcp://host:8786. local starts one here."
    ),
]
Restart = Annotated[
    bool,
    typer.Option("--restart", rich_help_panel=WORK, help="Discard an unfinished run and start from the beginning."),
]
BadFiles = Annotated[
    OnBadImage,
    typer.Option(
        metavar=either(OnBadImage), rich_help_panel=INPUT, help="What to do with images that cannot be packed."
    ),
]
ImagesOnly = Annotated[
    bool,
    typer.Option(
        "--images-only", rich_help_panel=INPUT, help="Leave out masks, captions and other files beside an image."
    ),
]
HowClosely = Annotated[
    Check,
    typer.Option(
        rich_help_panel=INPUT,
        metavar=either(Check),
        help="Check the ends of each image, or decode it, which takes longer.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="FIELD=COLUMN,...",
        rich_help_panel=INPUT,
        help="Columns of a table, such as image=path,label=Id. By default all.",
    ),
]
TableRoot = Annotated[
    str | None,
    typer.Option(
        "--root",
        metavar="DIR",
        rich_help_panel=INPUT,
        help="Where the paths in a table start. By default the table's directory.",
    ),
]


def crew(workers: int | None, dask: str | None) -> int | Cluster | None:
    """Return what packs shards, by the values of --workers and --dask."""
    from tiering.packing.executors import Dask as Cluster

    return Cluster(dask) if dask else workers


def convert(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET", help="Images: a directory, tar files, a table or a packed dataset. Path or URL."
        ),
    ],
    store: Annotated[
        str, typer.Argument(metavar="STORE", help="Store to create. Path or URL. It can be opened once it is finished.")
    ],
    to: Annotated[
        PackedFormat | None,
        typer.Option(rich_help_panel=PACKING, metavar=either(PackedFormat), help="Format of the store."),
    ] = None,
    codec: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=PACKING,
            autocompletion=completion.codecs,
            help="Codec of Zarr chunks, such as zstd:3. auto tries some and picks one.",
        ),
    ] = "auto",
    pixels: Annotated[
        bool, typer.Option("--pixels", rich_help_panel=PIXELS, help="Store decoded images of one shape, in Zarr.")
    ] = False,
    resize: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", rich_help_panel=PIXELS, help="Resize images to one shape, such as 224x224. Implies --pixels."
        ),
    ] = None,
    resize_mode: Annotated[
        ResizeMode, typer.Option(metavar=either(ResizeMode), rich_help_panel=PIXELS, help="How to resize.")
    ] = "crop",
    channels: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="COUNT",
            rich_help_panel=PIXELS,
            help="Channels of the pixels; implies --pixels. By default those of the images.",
        ),
    ] = None,
    dtype: Annotated[
        PixelType | None,
        typer.Option(
            metavar=either(PixelType),
            rich_help_panel=PIXELS,
            help="Type of the pixels; implies --pixels. By default uint8.",
        ),
    ] = None,
    max_side: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PIXELS",
            rich_help_panel=REENCODED,
            help="Shrink images whose longest side is longer.",
        ),
    ] = None,
    short_side: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PIXELS",
            rich_help_panel=REENCODED,
            help="Shrink images whose shorter side is longer. Not with --max-side.",
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            metavar="1-100",
            rich_help_panel=REENCODED,
            help="Quality of re-encoded images. By default 90.",
        ),
    ] = None,
    format: Annotated[
        EncodedFormat | None,
        typer.Option(
            rich_help_panel=REENCODED,
            metavar=either(EncodedFormat),
            help="Format of re-encoded images. By default jpeg.",
        ),
    ] = None,
    shard_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            rich_help_panel=PACKING,
            help="Largest size of a shard, such as 256MiB. By default it suits the data.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0,
            max=MOST_SEED,
            metavar="NUMBER",
            rich_help_panel=PACKING,
            help="Seed of the random order in which images are packed.",
        ),
    ] = 0,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|STORE",
            rich_help_panel=PACKING,
            autocompletion=completion.stores,
            help="Class numbers: another store's, or a file with NAME,NUMBER lines.",
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", rich_help_panel=WORK, help="Replace an existing store.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", rich_help_panel=WORK, help="Continue an unfinished run; fail if there is none.")
    ] = False,
    restart: Restart = False,
    show: ProgressFlag = None,
    json: JsonFlag = False,
) -> None:
    """Pack images into an LMDB or Zarr store.

    The store holds the original files, byte for byte, in a seeded random order; with --pixels it holds decoded images,
    with --max-side or --short-side smaller ones: upright, in sRGB, and without metadata. The source is never changed.
    To continue an interrupted conversion, run the same command again.

    Images that cannot be packed, broken links and unreadable directories: --on-error fail lists them all and fails at
    the end, skip leaves them out, quarantine also keeps copies of them.

    Pixels have 1 channel if all images are grey, 3 if some have colour, and all bands of images with more. uint8
    narrows 16 bits to 8; uint16 takes only images of 16 bits, float32 all. By default images of more than 8 bits are
    refused. With --resize, --channels and --dtype, .raw and .bin files are arrays of that shape.

    --quality or --format alone re-encode without a change of size. --columns takes names, or numbers from 0. In the
    pattern of --field, {stem} is the path of an image below the folder of images, without its ending; {name} is its
    last part.

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
        raise UsageError("--to", rule="needs lmdb or zarr", action="For example: --to lmdb")
    if resume and restart:
        raise UsageError("--resume and --restart", found="only one of them can be given", action="Leave one out.")
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
