"""`tiering.__all__`, `dir(tiering)`, docs/reference/api.md and the command line name the same things."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

import tiering
from tests.conftest import FIXTURES
from tiering.cli.app import app

PAGE = (FIXTURES.parent / "docs" / "reference" / "api.md").read_text()

#: Documented, and imported by their own modules: the first two need an extra, the others are families.
ELSEWHERE = ("tiering.serve.torch.", "tiering.serve.device.", "tiering.errors", "tiering.testing")


def verbs(command: Any, *names: str) -> Iterator[str]:
    """Yield the name of every command below a group."""
    if not hasattr(command, "commands"):
        yield " ".join(names)
        return
    for name, below in command.commands.items():
        yield from verbs(below, *names, name)


def test_dir_names_what_all_names():
    assert dir(tiering) == sorted(tiering.__all__)
    assert len(tiering.__all__) == len(set(tiering.__all__))


@pytest.mark.parametrize("name", tiering.__all__)
def test_every_public_name_is_there_and_described(name):
    found = getattr(tiering, name)
    assert name == "__version__" or found.__doc__
    assert name == "__version__" or found.__name__ == name


def test_the_reference_documents_each_public_name_once():
    documented = re.findall(r"^::: (\S+)$", PAGE, flags=re.MULTILINE)
    public = [name for name in documented if not name.startswith(ELSEWHERE)]
    homes = [f"{getattr(tiering, name).__module__}.{name}" for name in tiering.__all__ if name != "__version__"]
    assert sorted(public) == sorted(homes)


def test_the_reference_names_a_function_for_every_command():
    rows = dict(re.findall(r"^\| `tiering ([a-z ]+)` \| (.*) \|$", PAGE, flags=re.MULTILINE))
    assert sorted(rows) == sorted(verbs(typer.main.get_command(app)))
    for verb, names in rows.items():
        found = [getattr(tiering, name) for name in re.findall(r"`tiering\.(\w+)`", names)]
        assert found, verb
        assert all(map(callable, found)), verb


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tiering.nonsense  # noqa: B018


@pytest.mark.parametrize(
    "code",
    [
        "import tiering",
        "import tiering; tiering.Loader",
        "import tiering; store = tiering.open_store(sys.argv[1]); store[0]; len(list(tiering.Loader(store, 100).epoch(0)))",
    ],
    ids=["import", "name", "serve"],
)
def test_serving_a_store_loads_no_library_of_advice(code, photos, tmp_path):
    """A training image that only reads stores can leave out Polars, SciPy and scikit-learn: see docs/install.md."""
    store = tmp_path / "photos.lmdb"
    tiering.convert(photos, store, "lmdb")
    heavy = ("polars", "scipy", "sklearn", "skops", "plotly", "lmdb", "zarr", "typer", "rich")
    code = f"import sys; {code}; print(*(name for name in {heavy} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code, store], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


HIDDEN = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"polars", "scipy", "sklearn", "skops", "joblib", "lmdb", "zarr", "rich", "typer",
                                      "prometheus_client", "plotly", "jinja2", "torch", "obstore", "s3fs"}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Hidden())
import tiering
for place in sys.argv[2:]:
    with tiering.open_store(place) as store, tiering.cached(place, "100MB", f"{sys.argv[1]}/cache", force=True) as cache:
        for source in (store, cache):
            assert sum(len(batch.labels) for batch in tiering.Loader(source, 7).epoch(0)) == len(store)
            assert str(source.manifest)
"""


def test_stores_are_served_and_cached_with_the_small_installation(tmp_path):
    """The packages in docs/install.md are enough; all others are hidden."""
    stores = [FIXTURES / "v0.1.0" / name for name in ("lmdb", "zarr", "zarr-zstd", "pixels", "pixels-zstd")]
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN, tmp_path, *stores], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
