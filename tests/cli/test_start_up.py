"""A command loads only what it uses. `benchmarks/start_up.py` measures what that is worth."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import FIXTURES

#: What takes long to load, and is of use to few commands.
HEAVY = (
    *("scipy", "sklearn", "skops", "joblib", "pandas", "pyarrow", "torch", "zarr", "lmdb", "plotly", "jinja2"),
    *("fsspec", "s3fs", "obstore", "aiohttp", "PIL", "numcodecs", "polars", "numpy", "pydantic"),
)

#: Runs a command, and prints which of these it has loaded, after the code with which it ended.
CODE = f"""
import sys
from tiering.cli.app import main
try:
    main()
except SystemExit as end:
    print(end.code or 0, *(name for name in {HEAVY} if name in sys.modules))
"""

_READ = """\
7 17{at:02}.1 openat(AT_FDCWD</photos>, "{name}", O_RDONLY|O_CLOEXEC) = 3<{name}> <0.000020>
7 17{at:02}.2 read(3<{name}>, "x"..., 65536) = 48123 <0.000090>
7 17{at:02}.3 close(3<{name}>) = 0 <0.000010>
"""


@pytest.fixture
def beginning(tmp_path):
    """A trace that breaks off in its first epoch, so that the model has to judge it."""
    path = tmp_path / "small.strace"
    path.write_text("".join(_READ.format(at=at, name=f"/photos/{at * 7 % 30:02}.jpg") for at in range(30)))
    return path


def loaded(*words) -> tuple[set[str], str]:
    """Run a command; return which heavy libraries it loaded, and what it printed before."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, words)], capture_output=True, text=True, check=True, timeout=60
    )
    printed, _, last = done.stdout.rstrip("\n").rpartition("\n")
    code, *found = last.split()
    assert code == "0", done.stderr
    return set(found), printed


@pytest.mark.parametrize("model", [None, FIXTURES / "v0.1.0" / "model.skops"], ids=["shipped", "another"])
def test_a_verdict_of_the_model_needs_neither_scikit_learn_nor_what_it_brings(beginning, model):
    found, printed = loaded("classify", beginning, *([] if model is None else ["--model", model]))
    assert "because" in printed
    assert found == {"numpy", "polars", "pydantic"}


def test_the_program_s_own_help_and_version_load_no_library():
    for flag in ("--help", "--version"):
        assert loaded(flag)[0] == set()


@pytest.mark.parametrize(
    ("words", "needed"),
    [
        (["tiers", "list"], {"pydantic"}),
        (["model", "show"], {"numpy", "pydantic"}),
        (["info", FIXTURES / "v0.1.0" / "lmdb"], {"numpy", "pydantic", "PIL", "numcodecs"}),
        (["profile", FIXTURES / "images"], {"numpy", "polars", "pydantic", "PIL", "numcodecs"}),
    ],
    ids=lambda value: " ".join(map(str, value[:2])) if isinstance(value, list) else "",
)
def test_a_command_loads_what_it_uses_and_no_more(words, needed):
    found, _ = loaded(*words)
    assert found == needed
