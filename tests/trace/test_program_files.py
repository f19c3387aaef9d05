"""What counts as the machinery of programs."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tiering.trace.program_files import is_noise


def noise(path: str | None, root: Path | None = None) -> bool:
    frame = pl.DataFrame({"path": [path]}, schema={"path": pl.String})
    return frame.select(is_noise(root)).item()


@pytest.mark.parametrize(
    "path",
    [
        "/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2", "/etc/ld.so.cache", "/proc/self/maps",
        "/sys/devices/system/cpu/online", "/dev/null", "/dev/pts/0", "/home/u/env/lib/python3.11/os.py",
        "/home/u/env/lib/python3.11/site-packages/numpy/data.bin", "/home/u/train.py", "/x/__pycache__/a.cpython-311.pyc",
        "/opt/conda/x.so", "/opt/conda/x.so.1.2", "/usr/share/locale/de/x.mo", "pipe:[1]", "socket:TCP",
        "anon_inode:[eventfd]", "<stdout>",
    ],
)  # fmt: skip
def test_noise_is_known_by_its_path(path):
    assert noise(path)


@pytest.mark.parametrize("path", ["/data/a.jpg", "/home/u/lib/a.jpg", "images/a.jpg", "s3://bucket/a.sort", None])
def test_data_is_not_noise(path):
    assert not noise(path)


def test_files_below_the_dataset_are_never_noise(tmp_path):
    assert not noise("/usr/share/photos/a.py", Path("/usr/share/photos"))
    assert noise("/usr/share/photos-2/a.py", Path("/usr/share/photos"))
    assert not noise(str(tmp_path / "a.py"), tmp_path)
    assert not noise("photos/a.py", Path("photos/"))
