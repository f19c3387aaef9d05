"""Compiles the C extension `_draw`: Hatch's build hook, and `python -m tiering.images.build_extension` in a checkout.

It needs a C compiler and the headers of libjpeg-turbo 2.0.6 or later. Without them tiering is installed as pure Python,
which draws the same pictures more slowly. The environment variables CC, CFLAGS and LDFLAGS count as usual.

This module imports only the standard library: it runs before tiering's dependencies are installed.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any, Final

_HERE: Final = Path(__file__).parent
_NAME: Final = "_draw.abi3.so"

#: Sums are never contracted to one instruction, so that every machine computes the same pixels.
_FLAGS: Final = ("-O3", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden")

#: The oldest interpreter that runs the extension, and every later one (PEP 384).
_TAG: Final = "cp311-abi3"


class NotCompiledError(Exception):
    """The extension could not be compiled, or the compiled file does not load. The message says why."""


def compile_extension(folder: Path) -> Path:
    """Compile the extension into a folder, and load it once in another process.

    Returns its path. An earlier one there is replaced, or removed on failure. Raises NotCompiledError.
    """
    target = folder / _NAME
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / _NAME
        try:
            _run([*_compiler(), *_FLAGS, *_variable("CFLAGS"), *_includes(), str(_HERE / "_draw.c"), "-o", str(made),
                  *_variable("LDFLAGS"), "-ljpeg", "-lm"])  # fmt: skip
            _run([sys.executable, "-c", f"import sys; sys.path.insert(0, {scratch!r}); import _draw"])
        except NotCompiledError:
            target.unlink(missing_ok=True)
            raise
        made.replace(target)
    return target


def get_build_hook() -> type:
    """Return the class of the build hook, as Hatchling asks for it."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # noqa: PLC0415

    class Extension(BuildHookInterface):  # type: ignore[misc, type-arg, unused-ignore]
        """Adds the extension to a wheel. An editable installation gets it in the checkout."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            editable = version == "editable"
            self.scratch = tempfile.TemporaryDirectory()
            try:
                made = compile_extension(_HERE if editable else Path(self.scratch.name))
            except NotCompiledError as error:
                self.app.display_warning(f"tiering is installed without its C extension: {error}")
                return
            self.app.display_info(f"tiering's C extension was compiled: {made.name}")
            build_data["pure_python"] = False
            build_data["tag"] = f"{_TAG}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
            if not editable:
                build_data["force_include"][str(made)] = f"tiering/images/{_NAME}"

        def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
            self.scratch.cleanup()

    return Extension


def _compiler() -> list[str]:
    return _variable("CC") or shlex.split(sysconfig.get_config_var("CC") or "cc")


def _variable(name: str) -> list[str]:
    return shlex.split(os.environ.get(name, ""))


def _includes() -> list[str]:
    return [f"-I{path}" for path in {sysconfig.get_path("include"), sysconfig.get_path("platinclude")}]


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the user's compiler
    except OSError as error:
        raise NotCompiledError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        faults = [line for line in said if "error" in line.lower()] or said[-1:] or [f"exit code {done.returncode}"]
        raise NotCompiledError(f"{command[0]}: {faults[0].strip()}")


if __name__ == "__main__":
    try:
        print(compile_extension(_HERE))  # noqa: T201 - a program of its own
    except NotCompiledError as failure:
        sys.exit(f"The C extension was not compiled: {failure}")
