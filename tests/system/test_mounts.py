"""The mount table: every name survives it, later mounts hide earlier ones, and lines that are no mounts are skipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiering.system.mounts import mount_of, mounts_of

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


def escaped(text: str) -> str:
    """Escape a name as the kernel does (mangle in fs/proc_namespace.c)."""
    for each in "\\ \t\n#":
        text = text.replace(each, f"\\{ord(each):03o}")
    return text


@given(names=st.lists(NAMES, min_size=4, max_size=4), tags=st.integers(0, 2))
def test_any_name_is_read_back_as_it_was(names, tags):
    root, point, source, option = names
    optional = "".join(f" shared:{number}" for number in range(tags))
    line = (
        f"36 35 98:0 /{escaped(root)} /{escaped(point)} rw,noatime{optional} - ext4 {escaped(source)} "
        f"rw,{escaped(option.replace(',', ''))}"
    )
    (found,) = mounts_of(f"{line}\n")
    assert (found.number, found.parent, found.device, found.kind) == (36, 35, "98:0", "ext4")
    assert (found.root, found.point, found.source) == (f"/{root}", f"/{point}", source)
    assert "rw" in found.options
    assert set(found.options) <= {"rw", option.replace(",", "")}


@given(st.text(max_size=300))
def test_no_text_at_all_is_an_error(text):
    for found in mounts_of(text):
        assert found.number >= 0
    assert mount_of("/data", text) is None or "/" in text


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 8), st.sampled_from(["/", "/a", "/a/b", "/a/b/c", "/ab", "/z"])),
        max_size=12,
    )
)
def test_any_tree_of_mounts_ends_at_one_that_holds_the_path(mounts):
    table = "".join(f"{own} {parent} 0:{own} / {point} rw - ext4 x rw\n" for own, parent, point in mounts)
    found = mount_of("/a/b/c/d", table)
    assert found is None or found.point in {"/", "/a", "/a/b", "/a/b/c"}
    if any(point == "/" and parent not in {own for own, *_ in mounts} for _, parent, point in mounts):
        assert found is not None


STACKED = """20 1 254:1 / / rw - ext4 /dev/vda1 rw
21 20 8:1 / /data/old rw - xfs /dev/sda1 rw
22 20 8:2 / /data rw - ext4 /dev/sdb1 rw
23 22 8:3 /photos /data/new rw - btrfs /dev/sdc1 rw
24 23 0:44 / /data/new rw - nfs4 filer:/b rw
"""


@pytest.mark.parametrize(
    ("path", "number"), [("/data/old/x", 22), ("/data", 22), ("/data/new/x", 24), ("/datasets", 20), ("/", 20)]
)
def test_a_later_mount_hides_the_ones_below_its_directory(path, number):
    assert mount_of(path, STACKED).number == number


def test_mounts_as_the_kernel_really_makes_them(tmp_path):
    """Bind mounts, odd names and hidden mounts, in a mount namespace of their own."""
    script = """
import json, sys
from tiering.system.mounts import mount_of
print(json.dumps([[mount_of(path).kind, mount_of(path).point] for path in sys.argv[1:]]))
"""
    odd = "a b\tc\\d#e\x0cf\u2028g"
    (tmp_path / "dir" / "below").mkdir(parents=True)
    (tmp_path / odd).mkdir()
    (tmp_path / "bound").mkdir()
    setup = """
cd "$1"
mount -t tmpfs below dir/below
mount -t tmpfs odd "$2"
mkdir "$2/sub"
mount --bind "$2/sub" bound
if [ "$3" = hide ]; then mount -t ramfs hiding dir; mkdir dir/below; fi
shift 3
exec "$@"
"""
    for hide, kind, point in (("no", "tmpfs", tmp_path / "dir/below"), ("hide", "ramfs", tmp_path / "dir")):
        namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        paths = [str(tmp_path / each) for each in ("dir/below", odd, "bound")]
        done = subprocess.run(
            [*namespace, "sh", "-ec", setup, "sh", str(tmp_path), odd, hide, sys.executable, "-c", script, *paths],
            capture_output=True, text=True, check=False, timeout=60,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        wanted = [[kind, str(point)], ["tmpfs", str(tmp_path / odd)], ["tmpfs", str(tmp_path / "bound")]]
        assert json.loads(done.stdout) == wanted
