"""New samples come with the fields that the store has: as the store remembers them, or as the caller says."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest
from typer.testing import CliRunner

import tiering
from tests.trees import picture, put
from tiering.cli.app import app
from tiering.errors import DatasetError, UsageError
from tiering.sources.fields import FieldsWarning

PATTERN = {"mask": "masks/{stem}.png"}


def photo(number):
    return picture(8 + number, 8, "JPEG")


def mask(number):
    return picture(8 + number, 8, "PNG")


def lay(root, numbers, masked=(), masks="masks"):
    """Images, some with a mask in a tree of its own."""
    for number in numbers:
        put(root, f"images/{number}.jpg", photo(number))
    for number in masked:
        put(root, f"{masks}/{number}.png", mask(number))
    return root


@pytest.fixture
def store(tmp_path):
    tiering.convert(lay(tmp_path / "first", range(3), range(3)), tmp_path / "store", "lmdb", fields=PATTERN, workers=1)
    return tmp_path / "store"


def masks(place):
    store = tiering.open_store(place)
    rows = np.arange(len(store))
    found = [None if each is None else bytes(each) for each in store.read_field("mask", rows)]
    return dict(zip([key.decode()[7:-4] for key in store.index.keys(rows)], found, strict=True))


def test_the_same_folder_is_read_with_its_fields_without_being_told_again(store, tmp_path):
    source = lay(tmp_path / "first", range(5), range(4))
    with warnings.catch_warnings(action="error"):
        account = tiering.append(source, store, workers=1).account
    assert (account.packed, account.field_files) == (5, 4)
    assert masks(store) == {"0": mask(0), "1": mask(1), "2": mask(2), "3": mask(3), "4": None}
    found = tiering.verify(store, source=source)
    assert found.ok, found.problems
    put(source, "masks/4.png", mask(4))
    assert tiering.sync(source, store, workers=1).changed == 1
    assert masks(store)["4"] == mask(4)
    (store / "fields/mask/0/c/0").unlink()
    assert tiering.repair(store, source=source, workers=1) == ["fields/mask/0/c/0"]
    assert tiering.verify(store, source=source).ok


def test_another_folder_is_searched_for_the_fields_that_the_store_has(store, tmp_path):
    source = lay(tmp_path / "second", range(3, 5), range(3, 5))
    assert tiering.append(source, store, workers=1).source.fields == PATTERN
    assert masks(store)["4"] == mask(4)
    copy = shutil.copytree(source, tmp_path / "copy")
    assert tiering.verify(store, source=copy).ok


def test_patterns_of_its_own_are_remembered_for_each_folder(store, tmp_path):
    source = lay(tmp_path / "second", range(3, 5), range(3, 5), masks="labels")
    tiering.append(source, store, fields={"mask": "labels/{stem}.png"}, workers=1)
    for number in range(5):
        assert masks(store)[str(number)] == mask(number)
    lay(source, range(5, 6), range(5, 6), masks="labels")
    tiering.append(source, store, workers=1)
    lay(tmp_path / "first", range(6, 7), range(6, 7))
    tiering.append(tmp_path / "first", store, workers=1)
    assert masks(store)["5"] == mask(5)
    assert masks(store)["6"] == mask(6)
    for each in ("first", "second"):
        found = tiering.verify(store, source=tmp_path / each)
        assert found.ok, found.problems


def test_samples_without_the_field_have_no_value_and_a_warning_says_so(store, tmp_path):
    source = lay(tmp_path / "second", range(3, 5))
    put(source, "other/9.jpg", photo(9))
    with pytest.warns(FieldsWarning, match="no value of mask in the 3 samples to pack"):
        manifest = tiering.append(source, store, workers=1)
    assert (manifest.samples, manifest.source.fields, manifest.fields[0].nullable) == (6, {}, True)
    assert masks(store)["3"] is None
    # Masks that come later are taken when they are asked for, and from then on.
    lay(source, range(3, 6), range(3, 6))
    (source / "other/9.jpg").unlink()
    assert tiering.append(source, store, fields=PATTERN, workers=1).source.fields == PATTERN
    assert (masks(store)["3"], masks(store)["5"]) == (None, mask(5))
    tiering.sync(source, store, workers=1)
    assert masks(store) == {str(number): mask(number) for number in range(3, 6)}


def test_a_remembered_folder_without_its_masks_is_an_error(store, tmp_path):
    shutil.rmtree(tmp_path / "first/masks")
    lay(tmp_path / "first", range(4))
    for change in (tiering.append, tiering.sync):
        with pytest.raises(UsageError, match="fields: needs files like masks"):
            change(tmp_path / "first", store, workers=1)
    assert tiering.open_store(store).manifest.generation == 1


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"mask": "labels/{stem}.png"}, UsageError, "fields: needs files like labels"),
        ({"mask": "texts/{stem}.txt"}, DatasetError, "field mask: expected values of kind image.*found string"),
        ({"mask": "masks"}, UsageError, "a path below the dataset"),
    ],
)
def test_a_pattern_that_cannot_be_is_one_error_and_changes_nothing(store, tmp_path, fields, error, message):
    source = lay(tmp_path / "second", range(3, 5), range(3, 5))
    put(source, "texts/3.txt", b"three")
    with pytest.raises(error, match=message):
        tiering.append(source, store, fields=fields, workers=1)
    assert tiering.open_store(store).manifest.generation == 1
    assert not (store / ".tiering").exists()


def test_a_table_has_no_trees(store, tmp_path):
    with pytest.raises(UsageError, match="fields: expected a folder as the dataset"):
        tiering.append(tiering.TableSource(put_table(tmp_path)), store, fields=PATTERN, workers=1)


def put_table(tmp_path):
    put(tmp_path, "table/1.jpg", photo(1))
    put(tmp_path, "table/list.csv", b"path\n1.jpg\n")
    return tmp_path / "table/list.csv"


def test_the_command_line_appends_with_fields(store, tmp_path):
    source = lay(tmp_path / "second", range(3, 5), range(3, 5), masks="labels")
    for flags in ([], ["--sync"]):
        done = CliRunner().invoke(
            app, ["append", str(source), str(store), "--field", "mask=labels/{stem}.png", "--workers", "1", *flags]
        )
        assert done.exit_code == 0, done.output
    assert masks(store) == {"3": mask(3), "4": mask(4)}
    done = CliRunner().invoke(app, ["append", str(source), str(store), "--field", "mask=none/{stem}.png"])
    assert done.exit_code == 2
    assert "--field: needs files like none/{stem}.png" in " ".join(done.output.split())
