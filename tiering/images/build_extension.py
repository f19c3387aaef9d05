"""Compiles the C extensions: Hatch's build hook, and `python -m tiering.images.build_extension` in a checkout.

They need a C compiler, and `_draw` the headers of libjpeg-turbo 2.0.6 or later. Without them tiering is installed as
pure Python, which draws the same pictures and writes the same stores more slowly. The environment variables CC, CFLAGS
and LDFLAGS count as usual.

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

_PACKAGE: Final = Path(__file__).parent.parent

#: The extensions, by their path in the package, and the libraries of each.
EXTENSIONS: Final = {
    "images/_draw": ("-ljpeg", "-lm"),
    "images/_whole": (),
    "store/_leaves": (),
    "system/_files": ("-pthread",),
    "trace/capturing/_calls": (),
}
_ENDING: Final = ".abi3.so"

#: Sums are never contracted to one instruction, so that every machine computes the same pixels.
_FLAGS: Final = ("-O3", "-ffp-contract=off", "-fPIC", "-shared", "-fvisibility=hidden")

#: The oldest interpreter that runs the extension, and every later one (PEP 384).
_TAG: Final = "cp311-abi3"


class NotCompiledError(Exception):
    """The extension could not be compiled, or the compiled file does not load. The message says why."""


def compile_extensions(package: Path) -> tuple[list[Path], list[str]]:
    """Compile each extension into its room below a folder, and load it once in another process.

    Earlier ones there are replaced, or removed on failure. Returns the paths of those that were made, and for each of
    the others why not.
    """
    made, faults = list[Path](), list[str]()
    for name in EXTENSIONS:
        try:
            made.append(compile_extension(name, package))
        except NotCompiledError as error:
            faults.append(f"{name}: {error}")
    return made, faults


def compile_extension(name: str, package: Path) -> Path:
    """Compile one extension into its room below a folder. Returns its path. Raises NotCompiledError."""
    target = package / f"{name}{_ENDING}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = Path(scratch) / target.name
        try:
            _run([*_compiler(), *_FLAGS, *_variable("CFLAGS"), *_includes(), str(_PACKAGE / f"{name}.c"), "-o",
                  str(made), *_variable("LDFLAGS"), *EXTENSIONS[name]])  # fmt: skip
            _run([sys.executable, "-c", f"import sys; sys.path.insert(0, {scratch!r}); import {Path(name).name}"])
        except NotCompiledError:
            target.unlink(missing_ok=True)
            raise
        made.replace(target)
    return target


def get_build_hook() -> type:
    """Return the class of the build hook, as Hatchling asks for it."""
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # noqa: PLC0415

    class Extension(BuildHookInterface):  # type: ignore[misc, type-arg, unused-ignore]
        """Adds the extensions to a wheel. An editable installation gets them in the checkout."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            editable = version == "editable"
            self.scratch = tempfile.TemporaryDirectory()
            package = _PACKAGE if editable else Path(self.scratch.name)
            made, faults = compile_extensions(package)
            for fault in faults:
                self.app.display_warning(f"tiering is installed without its C extension {fault}")
            for path in made:
                self.app.display_info(f"tiering's C extension was compiled: {path.name}")
                if not editable:
                    build_data["force_include"][str(path)] = f"tiering/{path.relative_to(package)}"
            if made:
                build_data["pure_python"] = False
                build_data["tag"] = f"{_TAG}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"

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
    compiled, failures = compile_extensions(_PACKAGE)
    print(*compiled, sep="\n")  # noqa: T201 - a program of its own
    if failures:
        sys.exit("\n".join(f"The C extension was not compiled: {failure}" for failure in failures))
