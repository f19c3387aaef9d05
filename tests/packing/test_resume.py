"""A conversion that was killed goes on where it was, with equal results, and never from a source that changed."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

import tiering
from tests import warm
from tiering.errors import DatasetError, StoreError, UsageError
from tiering.testing import tree

KINDS = ["lmdb", "zarr"]
SHARD = 100_000


class StopError(Exception):
    pass


def interrupt(source, store, kind, *, after=2, **options):
    """Convert, and break off after a number of shards."""
    seen = []

    def progress(samples, of, size):
        seen.append(samples)
        if len(seen) == after + 1:
            raise StopError

    with pytest.raises(StopError):
        tiering.convert(source, store, kind, shards=tiering.Shards(SHARD), workers=1, progress=progress, **options)
    return store.with_name(store.name + ".partial")


@pytest.mark.parametrize("kind", KINDS)
def test_finished_shards_are_not_packed_again_and_the_store_is_the_same(photos, tmp_path, kind):
    partial = interrupt(photos, tmp_path / "store", kind)
    done = {path.relative_to(partial): path.stat().st_ino for path in partial.rglob("*") if path.is_file()}
    shards = [name for name in done if name.suffix == ".mdb" or name.parent.name == "c"]
    assert len(shards) >= 2
    with pytest.raises(StoreError):
        tiering.open_store(partial)
    manifest = tiering.convert(photos, tmp_path / "store", kind, shards=tiering.Shards(SHARD))
    assert all((tmp_path / "store" / name).stat().st_ino == done[name] for name in shards)
    assert tiering.convert(photos, tmp_path / "whole", kind, shards=tiering.Shards(SHARD)) == manifest
    assert tree(tmp_path / "store") == tree(tmp_path / "whole")
    assert sorted(os.listdir(tmp_path)) == ["store", "whole"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_that_changed_is_refused_by_name(some_photos, tmp_path, kind):
    interrupt(some_photos, tmp_path / "store", kind)
    files = sorted(some_photos.rglob("*.jpg"))
    files[0].write_bytes(files[1].read_bytes())
    files[2].unlink()
    (some_photos / "new.jpg").write_bytes(files[1].read_bytes())
    os.utime(files[3], ns=(1, 1))
    with pytest.raises(DatasetError) as raised:
        tiering.convert(some_photos, tmp_path / "store", kind, shards=tiering.Shards(SHARD))
    said = str(raised.value)
    assert "4 changed since" in said
    assert f"{files[2].relative_to(some_photos)}: removed" in said
    assert "new.jpg: added" in said
    assert said.count(": changed") == 2
    assert '`resume="never"`' in said
    tiering.convert(some_photos, tmp_path / "store", kind, shards=tiering.Shards(SHARD), resume="never")
    assert tiering.verify(tmp_path / "store", source=some_photos).ok


def labels_table(photos, tmp_path, swapped=()):
    """A table of the photographs with two columns of labels that have the same names."""
    keys = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))
    lines = [f"{key},{(row + (row in swapped)) % 2},{row // 2 % 2}\n" for row, key in enumerate(keys)]
    table = tmp_path / "t.csv"
    table.write_text("path,human,model\n" + "".join(lines))
    return table


def test_a_source_whose_labels_changed_is_refused_by_name(photos, tmp_path):
    table, store = labels_table(photos, tmp_path), tmp_path / "store"
    human = tiering.TableSource(table, "path=path,label=human", photos)
    interrupt(human, store, "lmdb")
    with pytest.raises(DatasetError, match=r"\d+ changed since .*: another label"):
        tiering.convert(
            tiering.TableSource(table, columns="path=path,label=model", root=photos),
            store,
            "lmdb",
            shards=tiering.Shards(SHARD),
        )
    labels_table(photos, tmp_path, swapped=(3, 10))
    with pytest.raises(DatasetError, match=r"2 changed since .*: another label.*`resume="):
        tiering.convert(human, store, "lmdb", shards=tiering.Shards(SHARD))
    both = tiering.TableSource(table, "path=path,label=human,split=model", photos)
    with pytest.raises(UsageError, match="classes and splits"):
        tiering.convert(both, store, "lmdb", shards=tiering.Shards(SHARD))
    labels_table(photos, tmp_path)
    tiering.convert(human, store, "lmdb", shards=tiering.Shards(SHARD))
    assert tiering.verify(store, source=table).ok


def test_an_append_does_not_go_on_with_other_labels_or_splits(photos, tmp_path):
    table, store = labels_table(photos, tmp_path), tmp_path / "store"
    whole = table.read_text().splitlines()
    columns = "path=path,label=human,split=model"
    table.write_text("\n".join(whole[:20]))
    tiering.convert(
        tiering.TableSource(table, columns=columns, root=photos), store, "lmdb", shards=tiering.Shards(SHARD), workers=1
    )
    table.write_text("\n".join([whole[0], *(f"{line[:-1]}1" for line in whole[20:])]))

    def stop(samples, of, size):
        if samples:
            raise StopError

    with pytest.raises(StopError):
        tiering.append(table, store, workers=1, progress=stop)
    table.write_text("\n".join([whole[0], *(f"{line[:-1]}0" for line in whole[20:])]))
    with pytest.raises(DatasetError, match=r"\d+ changed since .*: another split"):
        tiering.append(table, store, workers=1)
    assert tiering.append(table, store, workers=1, resume="never").samples == len(whole) - 1


def test_other_settings_are_refused_and_named(photos, tmp_path):
    interrupt(photos, tmp_path / "store", "zarr")
    with pytest.raises(UsageError, match="seed 0, now 7"):
        tiering.convert(photos, tmp_path / "store", "zarr", shards=tiering.Shards(SHARD, seed=7))
    with pytest.raises(UsageError, match="kind zarr, now lmdb"):
        tiering.convert(photos, tmp_path / "store", "lmdb", shards=tiering.Shards(SHARD))
    assert tiering.convert(photos, tmp_path / "store", "lmdb", resume="never").kind == "lmdb"
    assert tiering.verify(tmp_path / "store", source=photos).ok


@pytest.mark.parametrize("spoil", ["receipt", "shard"])
def test_a_receipt_or_shard_that_is_not_whole_counts_for_nothing(photos, tmp_path, spoil):
    partial = interrupt(photos, tmp_path / "store", "lmdb")
    victim = min((partial / ".tiering").glob("*.npz") if spoil == "receipt" else partial.glob("*.mdb"))
    victim.write_bytes(victim.read_bytes()[: victim.stat().st_size // 2])
    tiering.convert(photos, tmp_path / "store", "lmdb", shards=tiering.Shards(SHARD))
    assert tiering.verify(tmp_path / "store", source=photos).ok


def test_a_conversion_that_did_nothing_leaves_nothing(photos, tmp_path):
    with pytest.raises(UsageError):
        tiering.convert(photos, tmp_path / "store", "zarr", codec="zip")
    assert os.listdir(tmp_path) == []


def test_resume_goes_on_with_what_is_unfinished_and_begins_nothing(photos, tmp_path):
    store = tmp_path / "store"
    with pytest.raises(UsageError, match=r"needs an unfinished conversion to continue\. Leave out `resume"):
        tiering.convert(photos, store, "lmdb", shards=tiering.Shards(SHARD), resume="only")
    assert os.listdir(tmp_path) == []
    partial = interrupt(photos, store, "lmdb")
    shard = (partial / "shard-00000.mdb").stat().st_ino
    with pytest.raises(UsageError, match="seed 0, now 7"):
        tiering.convert(photos, store, "lmdb", shards=tiering.Shards(SHARD, seed=7), resume="only")
    tiering.convert(photos, store, "lmdb", shards=tiering.Shards(SHARD), resume="only")
    assert (store / "shard-00000.mdb").stat().st_ino == shard


def test_resume_of_a_finished_store_names_the_command_that_repairs_it(program, photos, tmp_path):
    store = tmp_path / "store"
    tiering.convert(photos, store, "lmdb")
    files = tree(store)
    for words in ([], ["--to", "zarr", "--codec", "zstd", "--resize", "32x32"]):
        done = program("convert", photos, store, *words, "--resume")
        assert done.returncode == 2
        assert (
            f"found a finished store. To pack its missing and damaged shards again: tiering repair {store}"
            in done.stderr
        )
    assert tree(store) == files
    # An overwriting that was interrupted is unfinished, and the store that it will replace stands meanwhile.
    interrupt(photos, store, "zarr", overwrite=True)
    assert (
        tiering.convert(photos, store, "zarr", shards=tiering.Shards(SHARD), overwrite=True, resume="only").kind
        == "zarr"
    )


def test_a_second_converter_is_told_of_the_first(program, photos, tmp_path):
    words = ["convert", photos, tmp_path / "store", "--to", "lmdb", "--shard-size", "20kB"]
    with warm.start(*words, "--workers", "2", own_session=True) as first:
        lock = tmp_path / "store.partial" / ".tiering" / "lock"
        while not (lock.exists() and lock.stat().st_size):
            time.sleep(0.005)
        first.send_signal(signal.SIGSTOP)
        second = program(*words)
        first.send_signal(signal.SIGCONT)
        assert first.wait() == 0
    assert second.returncode == 2
    assert f"process {first.pid} on " in second.stderr
    assert len(second.stderr.strip().splitlines()) == 1
    assert tiering.verify(tmp_path / "store", source=photos).ok


@pytest.mark.parametrize(
    ("kind", "times"), [("lmdb", 2), *(pytest.param(kind, 6, marks=pytest.mark.slow) for kind in KINDS)]
)
def test_killed_at_any_moment_and_run_again_the_store_is_the_same(photos, tmp_path, kind, times):
    dice = random.Random(kind)
    whole = tmp_path / "whole"
    tiering.convert(photos, whole, kind, shards=tiering.Shards(20_000))
    store = tmp_path / "store"
    words = ["convert", photos, store, "--to", kind, "--shard-size", "20kB", "--workers", "2"]
    for _ in range(times):
        with warm.start(*words, own_session=True) as process:
            time.sleep(dice.uniform(0.4, 2.5))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        if store.exists():
            break
        with pytest.raises(StoreError):
            tiering.open_store(store)
    # It may have been killed after it gave the store its name, but before it removed its notes.
    if not store.exists() or (store / ".tiering").exists():
        assert warm.run(*words).returncode == 0
    assert tree(store) == tree(whole)
    assert sorted(os.listdir(tmp_path)) == ["store", "whole"]
