"""Plans written down: names of every kind come through, or are refused."""

from __future__ import annotations

import json

import polars as pl
import pytest

from tiering.errors import UsageError
from tiering.tiers.catalog import load_catalog
from tiering.tiers.lists import commands, write_lists, write_plan
from tiering.tiers.placement import place
from tiering.trace.heat import HEAT_SCHEMA, Heat

ODD = [" lead", "trail ", "-dash", "ü/ñ", "*?[1]", "back\\slash", "q\"uote's", "tab\there", "cr\rinside", "$HOME"]
COMMENTS = ["#hash", ";semi"]
AWKWARD = ["nl\nname", "ends\r"]


def plan(paths, capacities=None, root="/data"):
    rows = [
        {"path": path, "size": 4096, "opens": 0, "reads": 0, "bytes_read": 0, "writes": 0, "bytes_written": 0}
        for path in paths
    ]
    found = Heat(pl.DataFrame(rows, schema=HEAT_SCHEMA), 1.0, root)
    return place(found, capacities or {"hdd": None})


def test_names_come_through_both_lists(tmp_path):
    (each,) = write_lists(plan(ODD), tmp_path)
    assert sorted(each.rsync.read_bytes().decode().split("\0")) == sorted([*ODD, ""])
    assert sorted(each.rclone.read_bytes().decode().split("\n")) == sorted([*ODD, ""])
    assert (each.files, each.awkward) == (len(ODD), None)


def test_rsync_takes_no_name_for_a_comment(tmp_path):
    (each,) = write_lists(plan(COMMENTS), tmp_path)
    assert sorted(each.rsync.read_bytes().split(b"\0")) == [b"", b"./#hash", b"./;semi"]
    assert sorted(each.rclone.read_bytes().split(b"\n")) == [b"", b"#hash", b";semi"]


@pytest.mark.parametrize("name", AWKWARD)
def test_a_name_that_no_line_can_hold_leaves_rclone_without_a_list(tmp_path, name):
    (each,) = write_lists(plan(["plain", name]), tmp_path)
    assert each.rclone is None
    assert each.awkward == name
    assert sorted(each.rsync.read_bytes().decode().split("\0")) == sorted(["", "plain", name])
    assert [path.name for path in tmp_path.iterdir()] == ["hdd.rsync0"]


def test_each_file_is_in_one_list_and_old_lists_are_not_mixed_with_new(tmp_path):
    paths = [f"d/{number}" for number in range(50)]
    made = plan(paths, {"hdd": 10 * 4096, "sata-ssd": None})
    lists = write_lists(made, tmp_path)
    listed = [name for each in lists for name in each.rclone.read_text().splitlines()]
    assert sorted(listed) == sorted(paths)
    assert {each.tier: each.files for each in lists} == {"hdd": 10, "sata-ssd": 40}
    with pytest.raises(UsageError, match="without file lists"):
        write_lists(made, tmp_path)


def test_commands_name_source_list_and_place(tmp_path):
    made = plan(["a", "b"], {"hdd": 4096, "object": None}, root="/my data")
    lists = write_lists(made, tmp_path)
    assert commands(made, lists, load_catalog()) == [
        f"rsync -a --from0 --files-from={tmp_path}/hdd.rsync0 '/my data/' TO_HDD/",
        f"rclone copy --files-from-raw {tmp_path}/object.rclone '/my data/' TO_OBJECT:",
    ]
    traced = plan(["/data/a"], root="")
    assert commands(traced, write_lists(traced, tmp_path / "more"), load_catalog())[0].endswith(" / TO_HDD/")


def test_the_plan_as_csv_and_as_json_says_the_same(tmp_path):
    made = plan([*ODD, *AWKWARD])
    write_plan(made, tmp_path / "plan.csv")
    write_plan(made, tmp_path / "plan.json")
    document = json.loads((tmp_path / "plan.json").read_text())
    rows = pl.read_csv(tmp_path / "plan.csv")
    assert rows["path"].to_list() == [unit["path"] for unit in document["units"]] == made.units["path"].to_list()
    assert document["summary"]["files"] == len(rows)
    assert document["summary"]["monthly_usd"] == pytest.approx(sum(unit["monthly_usd"] for unit in document["units"]))
