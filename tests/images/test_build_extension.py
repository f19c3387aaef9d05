"""The C extensions: compiled where a compiler is, left out elsewhere, with equal pictures and stores."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
from pathlib import Path

import pytest

import tiering
from tiering.images.build_extension import EXTENSIONS, NotCompiledError, compile_extension, compile_extensions
from tiering.images.picture import NATIVE

ROOT = Path(tiering.__file__).parent.parent
FILES = [f"{name}.abi3.so" for name in EXTENSIONS]

DRAWING = """
import io
import numpy as np
from PIL import Image
from tiering.images.geometry import Geometry
from tiering.images.look import Look
from tiering.images.picture import NATIVE, open_picture
rows = np.add.outer(np.arange(90), np.arange(120)).astype(np.uint8)
file = io.BytesIO()
Image.fromarray(np.dstack([rows, rows.T[:90, :90].repeat(2, 1)[:, :120], 255 - rows])).save(file, "JPEG")
out = np.zeros((3, 20, 20), np.float32)
open_picture(file.getvalue()).draw([(Geometry((7, 9, 71, 65), (20, 20)), out.transpose(1, 2, 0))], Look())
print(NATIVE, *(round(float(mean) * 255) for mean in out.mean(axis=(1, 2))))
"""


def test_it_is_built_here():
    assert NATIVE, "python -m tiering.images.build_extension tells why not"


def test_they_compile_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("CFLAGS", "-Wall -Wextra -Wno-clobbered -Werror")
    made, faults = compile_extensions(tmp_path)
    assert (faults, [str(path.relative_to(tmp_path)) for path in made]) == ([], FILES)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == made


@pytest.mark.parametrize("compiler", ["/bin/false", "/no/such/compiler", "/bin/true"])
def test_without_a_compiler_nothing_stays_and_the_reason_is_given(tmp_path, monkeypatch, compiler):
    (tmp_path / "images").mkdir()
    (tmp_path / FILES[0]).write_bytes(b"of an earlier version")
    monkeypatch.setenv("CC", compiler)
    made, faults = compile_extensions(tmp_path)
    assert (made, [fault.partition(":")[0] for fault in faults]) == ([], list(EXTENSIONS))
    with pytest.raises(NotCompiledError, match=compiler if compiler != "/bin/true" else "_draw"):
        compile_extension("images/_draw", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def lowest(*names: str) -> list[str]:
    """Return the lowest versions of packages that tiering admits."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    admitted = dict(each.split(">=") for each in project["dependencies"])
    return [f"{name}=={admitted[name]}" for name in names]


@pytest.mark.slow
def test_the_source_installs_with_and_without_a_compiler_and_draws_the_same(tmp_path):
    """In an empty environment, with the lowest versions of the packages that read images."""
    venv.create(tmp_path / "venv", with_pip=True)
    python, drawn = tmp_path / "venv/bin/python", {}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*command: str | Path, cwd: Path = tmp_path, **settings: str) -> str:
        done = subprocess.run(
            [python, *command], cwd=cwd, env=environment | settings, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run("-m", "pip", "install", "-q", "hatchling", *lowest("numpy", "pillow", "simplejpeg"))
    run("-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path / "dist", cwd=ROOT)
    (archive,) = (tmp_path / "dist").iterdir()
    with tarfile.open(archive) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    sources = {f"tiering/{name}.c" for name in EXTENSIONS}
    assert {*sources, "tiering/images/build_extension.py", "docs/index.md", "tests/trees.py"} <= names
    assert not [name for name in names if name.endswith(".so")]
    for compiler in ("cc", "/bin/false"):
        install = ("install", "-v", "--no-deps", "--no-build-isolation", "--force-reinstall", archive)
        log = run("-m", "pip", *install, CC=compiler)
        native = compiler == "cc" and NATIVE
        for name in EXTENSIONS:
            line = f"was compiled: {Path(name).name}.abi3.so" if native else f"without its C extension {name}: "
            assert line in log
        assert ("cp311-abi3-linux" if native else "py3-none-any") in log
        found, *drawn[compiler] = run("-c", DRAWING).split()
        assert found == str(native)
        assert "tiering " in run("-m", "pip", "list")
    assert len(drawn["cc"]) == 3
    assert drawn["cc"] == drawn["/bin/false"]


def test_without_the_extension_the_same_picture_is_drawn(tmp_path):
    hidden = "import sys; sys.modules['tiering.images._draw'] = None\n"
    run = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
        for code in (DRAWING, hidden + DRAWING)
    ]
    (found, *drawn), (none, *others) = (done.stdout.split() for done in run)
    assert (found, none) == (str(NATIVE), "False")
    assert drawn == others
