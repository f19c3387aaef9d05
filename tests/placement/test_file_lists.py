"""Plans written down: names of every kind come through, or are refused."""

from __future__ import annotations

import json
import os
import shlex
import subprocess

import polars as pl
import pytest

from tests.trees import put
from tiering.advice.catalog import load_catalog
from tiering.errors import UsageError
from tiering.placement.file_lists import commands, write_lists, write_plan
from tiering.placement.heat import HEAT_SCHEMA, Heat
from tiering.placement.plan import place
from tiering.storage.location import Location
from tiering.testing import tree

ODD = [
    *(" lead", "trail ", "-dash", "+ plus", "ü/ñ", "*?[1]", "{a,b}", "back\\slash", "q\"uote's", "$HOME", "!", "~", "d/ e /f"),
    # Two spellings of one letter, a byte order mark, and what file systems of others cannot hold.
    *("\u00fce", "u\u0308e", "\ufeffbom", "a:b", "c|d", "e<f>", "..dots", "dot.", "\u202ex", "\u2028", "猫" * 60),
]  # fmt: skip
COMMENTS = ["#hash", ";semi"]
AWKWARD = [
    *("nl\nname", "ends\r", "cr\rinside", "tab\there", "\x1besc", "\x7f", "\x01"),
    *("\u240a", "\u2421", "\u201bquote", "x\u201b", "\uff0f", "\uff0e"),
]  # fmt: skip


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
    assert (each.files, each.not_rclone, each.not_carried, each.awkward) == (len(ODD), None, 0, None)


def test_rsync_takes_no_name_for_a_comment(tmp_path):
    (each,) = write_lists(plan(COMMENTS), tmp_path)
    assert sorted(each.rsync.read_bytes().split(b"\0")) == [b"", b"./#hash", b"./;semi"]
    assert sorted(each.rclone.read_bytes().split(b"\n")) == [b"", b"#hash", b";semi"]


@pytest.mark.parametrize("name", AWKWARD)
def test_a_name_that_rclone_cannot_carry_is_said(tmp_path, name):
    (each,) = write_lists(plan(["plain", name]), tmp_path)
    assert (each.not_carried, each.awkward) == (1, name)
    assert each.rclone.read_text() == "plain\n"
    assert each.not_rclone.read_bytes().decode() == f"{name}\0"
    assert sorted(each.rsync.read_bytes().decode().split("\0")) == sorted(["", "plain", name])


def test_without_a_name_that_rclone_can_carry_there_is_no_list_for_it(tmp_path):
    made = plan(AWKWARD, {"object": None})
    (each,) = write_lists(made, tmp_path)
    assert (each.rclone, each.not_carried) == (None, len(AWKWARD))
    assert commands(made, (each,), load_catalog()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["object.not-rclone0", "object.rsync0"]


@pytest.mark.parametrize(("tier", "tool"), [("hdd", "rsync"), ("object", "rclone")])
def test_every_file_is_moved_by_the_command_or_said_to_be_left(tmp_path, tier, tool):
    names = [*ODD, *COMMENTS, *AWKWARD]
    for name in names:
        put(tmp_path / "from", name, name.encode())
    made = plan(names, {tier: None}, root=str(tmp_path / "from"))
    (each,) = write_lists(made, tmp_path / "lists")
    (command,) = commands(made, (each,), load_catalog())
    words = [*shlex.split(command)[:-1], f"{tmp_path}/to"]
    assert words[0] == tool
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    left = set() if tool == "rsync" else set(each.not_rclone.read_bytes().split(b"\0")) - {b""}
    assert tree(tmp_path / "to") == {name.encode(): name.encode() for name in names if name.encode() not in left}
    assert len(left) == (each.not_carried if tool == "rclone" else 0)


@pytest.mark.slow
def test_a_bucket_gets_the_names_as_they_are(tmp_path, s3, s3_endpoint):
    names = [*ODD, *COMMENTS]
    for name in names:
        put(tmp_path / "from", name, name.encode())
    made = plan(names, {"object": None}, root=str(tmp_path / "from"))
    (command,) = commands(made, write_lists(made, tmp_path / "lists"), load_catalog())
    settings = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": s3_endpoint, "ENV_AUTH": "true"}
    environment = os.environ | {f"RCLONE_CONFIG_TO_OBJECT_{name}": value for name, value in settings.items()}
    environment.pop("AWS_CA_BUNDLE", None)  # rclone 1.60 cannot use one
    words = [*shlex.split(command)[:-1], f"TO_OBJECT:{s3.removeprefix('s3://')}"]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert Location.of(s3).names() == sorted(names)


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
        f"rclone copy --no-unicode-normalization --files-from-raw {tmp_path}/object.rclone '/my data/' TO_OBJECT:",
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
