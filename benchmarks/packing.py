"""Packing a directory of images: LMDB and Zarr stores against ArrayRecord, LitData and WebDataset, interleaved.

Usage: python benchmarks/packing.py --images DIR [--copies N] [--rounds 3] [--limit N] [--peers VENV] [--work DIR]
                                    [--json FILE]

DIR holds image files in class folders. Every tool stores the encoded bytes as they are, a key and a label, from files
that the page cache holds, and the listing of the directory is part of its time. The peers are called as their own
documentation shows: ArrayRecord with group_size:1, its option for random access (zstd by default; also without
compression, which JPEGs gain nothing from); LitData's optimize with as many workers as there are cores and its media
type for image files; WebDataset's ShardWriter with shuffled files and shards of 1 GB, as in its ImageNet example.
ArrayRecord and WebDataset have no parallel writing of their own, so they are measured both in one process and in one
process a core, each of which writes files of its own.

Each run is a fresh interpreter that imports first and times only the packing, up to where the tool returns and up to
where a sync() after it returns. Before a run the images are read once, and what others wrote is synced and removed;
after it all samples are counted, and their bytes added up, through the tool's own reader. Ours does more in its time
than the peers: it checks every image's header, sums every sample and file, writes in a random order and syncs before it
returns. It writes past the page cache, so the page cache holds what the peers wrote, and little of what ours did.

--copies N packs N copies of every image, each a file of its own. The peers want an environment of their own:

    python -m venv .venv-peers && .venv-peers/bin/pip install -r benchmarks/peers/requirements.txt
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import pickle
import platform
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

CORES = len(os.sched_getaffinity(0))
ARRAY_RECORD = "array_record.python.array_record_module"
COLD = 0.05  # of the images' bytes read from the disk: the page cache did not hold them
Entry = tuple[str, str, int]  # path, key, label
Content = tuple[int, int]  # samples, bytes of their images


@dataclass(frozen=True)
class Tool:
    """A way to pack.

    pack, content: pack the images at a path into a directory; read back what the directory holds.
    modules: imported before the clock runs. packages: whose versions to name; the first is the tool's own.
    """

    pack: Callable[[Path, Path], None]
    content: Callable[[Path], Content]
    modules: tuple[str, ...]
    packages: tuple[str, ...]
    peer: bool = True


def main() -> None:
    asked = arguments()
    tools = {name: tool for name, tool in TOOLS.items() if any(word.lower() in name.lower() for word in asked.only)}
    if any(tool.peer for tool in tools.values()) and not (asked.peers / "bin" / "python").is_file():
        sys.exit(
            f"{asked.peers}: no environment with the peers. Make it:\n"
            f"python -m venv {asked.peers} && {asked.peers}/bin/pip install -r benchmarks/peers/requirements.txt"
        )
    runs: list[dict[str, Any]] = []
    parent = asked.work or asked.images.parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="packing-", dir=parent) as name:
        work = Path(name)
        images = some(asked.images, work / "images", asked.limit) if asked.limit else asked.images
        images = copied(images, work / "copies", asked.copies) if asked.copies > 1 else images
        file_system = file_system_of(work)
        whole = warm(images)
        for number in range(asked.rounds):
            for key in rotated(list(tools), number * len(tools) // asked.rounds):
                found = run_warm(key, asked.peers, images, work)
                if (found["samples"], found["image_bytes"]) != whole:
                    sys.exit(f"{key}: packed {found['samples']:,} samples, {found['image_bytes']:,} B; wanted {whole}")
                runs.append({"round": number, "tool": key, **found})
                note = f"round {number + 1}: {key}: {found['returned']:.2f} s, synced {found['synced']:.2f} s"
                print(f"{note} ({found['elsewhere']:.0%} of the cores busy elsewhere)", file=sys.stderr)
    result = {"machine": machine(file_system), "samples": whole[0], "image_bytes": whole[1], "runs": runs}
    print(report(result))
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=lambda text: Path(text).resolve(), required=True, help="never changed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, help="pack so many images, evenly from all folders")
    parser.add_argument("--copies", type=int, default=1, help="pack so many copies of every image")
    parser.add_argument("--peers", type=lambda text: Path(text).absolute(), default=Path(".venv-peers").absolute())
    parser.add_argument("--work", type=lambda text: Path(text).resolve(), help="disk to write to; beside the images")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="tools with such a word in their name")
    parser.add_argument("--json", type=Path, help="write every run to this file")
    return parser.parse_args()


def rotated(names: list[str], by: int) -> list[str]:
    return names[by:] + names[:by]


def some(images: Path, place: Path, limit: int) -> Path:
    """Copy so many images, taken evenly from the whole listing, to a place."""
    entries = listing(images)
    for number in range(min(limit, len(entries))):
        path = Path(entries[number * len(entries) // min(limit, len(entries))][0])
        (place / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place / path.parent.name / path.name)
    return place


def copied(images: Path, place: Path, copies: int) -> Path:
    """Copy every image so many times, under names of their own, to a place."""
    for path, key, _ in listing(images):
        (place / key).parent.mkdir(parents=True, exist_ok=True)
        for copy in range(copies):
            shutil.copyfile(path, (place / key).with_name(f"{copy:03d}-{Path(path).name}"))
    return place


def listing(images: Path) -> list[Entry]:
    """List images in class folders: path, path in the dataset, number of the folder."""
    classes = sorted(entry.name for entry in os.scandir(images) if entry.is_dir())
    return [
        (f"{images}/{name}/{file}", f"{name}/{file}", label)
        for label, name in enumerate(classes)
        for file in sorted(os.listdir(images / name))
    ]


def content_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def warm(images: Path) -> Content:
    """Read all images into the page cache."""
    sizes = [len(content_of(path)) for path, _, _ in listing(images)]
    return len(sizes), sum(sizes)


def run_warm(name: str, peers: Path, images: Path, work: Path) -> dict[str, Any]:
    """Run a tool, and again where something else emptied the page cache under it; the third time counts in any case."""
    for again in (True, True, False):
        _, size = warm(images)
        found = run(name, peers, images, work)
        if found["read_from_disk"] <= COLD * size or not again:
            break
        print(f"{name}: not from warm files, {found['read_from_disk']:,} B came from the disk: again", file=sys.stderr)
    return found


def run(name: str, peers: Path, images: Path, work: Path) -> dict[str, Any]:
    """Pack with a tool in a fresh interpreter, and remove what it made."""
    own = work / "run"
    own.mkdir()
    variables = {
        "TMPDIR": own,
        "DATA_OPTIMIZER_CACHE_FOLDER": own / "chunks",
        "DATA_OPTIMIZER_DATA_CACHE_FOLDER": own / "data",
    }
    environment = os.environ | {key: str(value) for key, value in variables.items()}
    python = peers / "bin" / "python" if TOOLS[name].peer else sys.executable
    command = [python, Path(__file__).resolve(), "--child", name, images, own / "packed"]
    os.sync()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=own, check=False)
    if done.returncode:
        sys.exit(f"{name}: exit status {done.returncode}\n{done.stderr[-4000:]}")
    shutil.rmtree(own)
    return json.loads(done.stdout)


def child(name: str, images: Path, place: Path) -> None:
    """Time one packing, and print what came of it as JSON; whatever the tool prints goes to stderr."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    tool = TOOLS[name]
    for module in tool.modules:
        import_module(module)
    load, busy, (own, read) = os.getloadavg()[0], busy_seconds(), spent()
    began = time.perf_counter()
    tool.pack(images, place)
    returned = time.perf_counter() - began
    busy, own, read = busy_seconds() - busy, spent()[0] - own, spent()[1] - read
    os.sync()
    synced = time.perf_counter() - began
    samples, size = tool.content(place)
    found: dict[str, Any] = {"returned": returned, "synced": synced, "samples": samples, "image_bytes": size}
    found |= {"cpu": own, "read_from_disk": read, "load": load}
    found["elsewhere"] = max(0.0, (busy - own) / (returned * CORES))
    found["output_bytes"] = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    found["versions"] = {package: metadata.version(package) for package in tool.packages}
    json.dump(found, answer)
    answer.close()


def busy_seconds() -> float:
    """CPU time that this machine has spent on anything, and that its host took from it."""
    user, nice, system, _, _, interrupt, soft, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + interrupt + soft + steal) / os.sysconf("SC_CLK_TCK")


def spent() -> tuple[float, int]:
    """CPU time, and bytes read from the disk, of this process and of its children that ended."""
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in both), 512 * sum(one.ru_inblock for one in both)


def pack_tiering(kind: str, images: Path, place: Path) -> None:
    import_module("tiering").convert(images, place, kind)


def content_tiering(place: Path) -> Content:
    store = import_module("tiering").open_store(place)
    return len(store), int(store.index.size.sum())


def in_processes(write: Callable[[list[Entry], str], None], count: int, images: Path, place: Path) -> None:
    """Share the images among processes, each of which writes files whose names begin with its number."""
    place.mkdir()
    entries = listing(images)
    parts = [(entries[number::count], f"{place}/{number:02d}") for number in range(count)]
    if count == 1:
        write(*parts[0])
        return
    with multiprocessing.get_context("fork").Pool(count) as pool:
        pool.starmap(write, parts, chunksize=1)
        pool.close()
        pool.join()


def write_array_record(options: str, entries: list[Entry], prefix: str) -> None:
    writer = import_module(ARRAY_RECORD).ArrayRecordWriter(f"{prefix}.array_record", options)
    for path, key, label in entries:
        writer.write(pickle.dumps({"key": key, "label": label, "image": content_of(path)}))
    writer.close()


def content_array_record(place: Path) -> Content:
    sizes: list[int] = []
    for file in sorted(place.iterdir()):
        reader = import_module(ARRAY_RECORD).ArrayRecordReader(str(file))
        for first in range(0, reader.num_records(), 64):
            batch = reader.read(range(first, min(first + 64, reader.num_records())))
            sizes += [len(pickle.loads(record)["image"]) for record in batch]
    return len(sizes), sum(sizes)


def pack_litdata(images: Path, place: Path) -> None:
    optimize = import_module("litdata").optimize
    optimize(
        fn=litdata_sample, inputs=listing(images), output_dir=str(place), chunk_bytes="64MB", num_workers=CORES
    )  # fmt: skip


def litdata_sample(entry: Entry) -> dict[str, object]:
    path, key, label = entry
    return {"key": key, "label": label, "image": import_module("litdata").Image(path=path)}


def content_litdata(place: Path) -> Content:
    base = import_module("litdata.streaming.serializers").ImageSerializer
    undecoded = type("Undecoded", (base,), {"deserialize": lambda _, data: bytes(data)})
    dataset = import_module("litdata").StreamingDataset(str(place), serializers={"image": undecoded()})
    sizes = [len(dataset[number]["image"]) for number in range(len(dataset))]
    return len(sizes), sum(sizes)


def write_webdataset(entries: list[Entry], prefix: str) -> None:
    random.shuffle(entries)
    writer = import_module("webdataset").ShardWriter(f"{prefix}-%06d.tar", maxsize=1e9, encoder=False, verbose=0)
    for path, key, label in entries:
        stem, _, extension = key.rpartition(".")
        writer.write({"__key__": stem, extension: content_of(path), "cls": str(label).encode()})
    writer.close()


def content_webdataset(place: Path) -> Content:
    sizes = [size for file in sorted(place.iterdir()) for size in tar_sizes(file)]
    return len(sizes), sum(sizes)


def tar_sizes(file: Path) -> Iterator[int]:
    with tarfile.open(file) as tar:
        yield from (member.size for member in tar if not member.name.endswith(".cls"))


def tools() -> dict[str, Tool]:
    """Return all tools by name; on one core there is nothing to share among processes."""
    found = {
        "tiering, LMDB": Tool(
            partial(pack_tiering, "lmdb"),
            content_tiering,
            ("tiering.packing.convert",),
            ("tiering", "lmdb"),
            peer=False,
        ),
        "tiering, Zarr": Tool(
            partial(pack_tiering, "zarr"),
            content_tiering,
            ("tiering.packing.convert",),
            ("tiering", "zarr"),
            peer=False,
        ),
        f"LitData, {CORES} workers": Tool(
            pack_litdata, content_litdata, ("litdata", "litdata.streaming.serializers"), ("litdata",)
        ),
    }
    for count in sorted({1, CORES}):
        many = f"{count} process" + "es" * (count > 1)
        for name, options in (
            ("ArrayRecord", "group_size:1"),
            ("ArrayRecord uncompressed", "group_size:1,uncompressed"),
        ):
            pack = partial(in_processes, partial(write_array_record, options), count)
            found[f"{name}, {many}"] = Tool(pack, content_array_record, (ARRAY_RECORD,), ("array_record",))
        pack = partial(in_processes, write_webdataset, count)
        found[f"WebDataset, {many}"] = Tool(pack, content_webdataset, ("webdataset",), ("webdataset",))
    return found


TOOLS = tools()


def machine(file_system: str) -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())
    kernel, python = platform.release().split("-")[0], platform.python_version()
    return {"cores": CORES, "cpu": cpu, "memory": memory, "file_system": file_system, "linux": kernel, "python": python}


def file_system_of(place: Path) -> str:
    mounts = [line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines()]
    above = [(point, kind) for point, kind in mounts if place.is_relative_to(point)]
    return max(reversed(above), key=lambda mount: len(mount[0]))[1]


def report(result: dict[str, Any]) -> str:
    samples, size, on, runs = (result[key] for key in ("samples", "image_bytes", "machine", "runs"))
    tools = {name: [one for one in runs if one["tool"] == name] for name in TOOLS}
    tools = {name: found for name, found in tools.items() if found}
    versions = {package: version for one in runs for package, version in one["versions"].items()}
    rounds = len(next(iter(tools.values())))
    lines = [
        "# Packing",
        "",
        "Made by `python benchmarks/packing.py`; run it on your own disk.",
        "",
        f"{samples:,} encoded images of {size / samples / 1e3:.1f} kB in class folders, in the page cache; medians of",
        f"{rounds} rounds, interleaved, the range in brackets. The last columns say how many times as long as ours",
        "a tool took in the same round.",
    ]
    for key, title in (("returned", "As the tool returns"), ("synced", "With a sync() after it")):
        lines += ["", f"## {title}", "", "| tool | s | samples/s | MB/s | against LMDB | against Zarr |"]
        lines.append("| --- | --- | --- | --- | --- | --- |")
        for name, found in tools.items():
            middle, low, high = (of(one[key] for one in found) for of in (statistics.median, min, max))
            against = [ratio(found, tools.get(ours, []), key) for ours in ("tiering, LMDB", "tiering, Zarr")]
            rates = f"{samples / middle:,.0f} | {size / middle / 1e6:,.0f}"
            lines.append(f"| {name} | {middle:.2f} ({low:.2f}-{high:.2f}) | {rates} | {' | '.join(against)} |")
    peers = {name: found for name, found in tools.items() if TOOLS[name].peer}
    if peers:
        best = min(peers, key=lambda name: statistics.median(one["synced"] for one in peers[name]))
        lines += [
            "",
            f"With a sync() after it, the quickest peer is {best}. In the same rounds it took as many times as long as",
        ]
        lines += [f"- {name}: {ratio(peers[best], tools[name], 'synced')}" for name in tools if name not in peers]
    lines += ["", "## What it took", "", "| tool | CPU s | output / images | cores busy elsewhere |"]
    lines.append("| --- | --- | --- | --- |")
    for name, found in tools.items():
        cpu, out, other = (statistics.median(one[key] for one in found) for key in ("cpu", "output_bytes", "elsewhere"))
        lines.append(f"| {name} | {cpu:.1f} | {out / size:.3f} | {other:.0%} |")
    load, elsewhere = (statistics.median(one[key] for one in runs) for key in ("load", "elsewhere"))
    lines += [
        "",
        f"Machine: {on['cores']} cores ({on['cpu']}), {on['memory'] / 2**30:.0f} GiB, {on['file_system']}, "
        f"Linux {on['linux']}, Python {on['python']}; "
        + ", ".join(f"{package} {version}" for package, version in versions.items())
        + ".",
        f"Load when a run began: {load:.1f} (median); busy with other things meanwhile: {elsewhere:.0%} of the cores.",
    ]
    cold = sorted({one["tool"] for one in runs if one["read_from_disk"] > COLD * size})
    if cold:
        lines.append(f"These had to read from the disk, so the page cache did not last: {'; '.join(cold)}.")
    return "\n".join(lines)


def ratio(found: list[dict[str, Any]], ours: list[dict[str, Any]], key: str) -> str:
    ratios = [one[key] / other[key] for one, other in zip(found, ours, strict=False)]
    return f"{statistics.median(ratios):.2f} x" if ratios else "-"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
