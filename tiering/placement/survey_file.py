"""Write a survey as a file, and read it again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from tiering.errors import InputError, from_os_error
from tiering.placement.survey import Survey
from tiering.storage.output_file import write_output

_SNIFFED: Final = 4096


def write_survey(found: Survey, path: str | os.PathLike[str]) -> None:
    """Write a survey as JSON, which `place` reads. Raises OSError."""
    write_output(path, found.model_dump_json(indent=1) + "\n")


def read_survey(path: str | os.PathLike[str]) -> Survey:
    """Read a survey that write_survey wrote. Raises InputError for anything else."""
    try:
        return Survey.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise from_os_error(error) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(
            os.fspath(path),
            found=f"not a survey: {first['msg'].lower()}{f' at {where}' if where else ''}",
            action="Make it again: tiering survey ROOT -o survey.json",
        ) from error


def is_survey(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is a survey, by its first bytes."""
    try:
        if not Path(path).is_file():
            return False
        with Path(path).open("rb") as file:
            head = file.read(_SNIFFED)
    except OSError as error:
        raise from_os_error(error) from error
    return head.lstrip().startswith(b"{") and b'"tiering-survey"' in head
