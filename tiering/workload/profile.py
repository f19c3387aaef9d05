"""profile.json: a dataset profile and trace profiles in one versioned document."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tiering.dataset.profile import DatasetProfile, profile_dataset
from tiering.errors import DatasetError, ProfileError, command
from tiering.notebook import Shown, Summary
from tiering.progress import Progress, no_progress
from tiering.storage.output_file import write_output
from tiering.trace.trace_profile import TraceProfile
from tiering.workload.profile_mark import is_profile


class Profile(Shown, BaseModel):
    """The document that `tiering profile -o profile.json` writes.

    Attributes:
        dataset: The profile of the dataset, or None.
        traces: Profiles of traces of jobs that read it.

    Example:
        >>> profile = tiering.Profile(dataset=tiering.profile_dataset("photos"))  # doctest: +SKIP
        >>> tiering.write_profile(profile, "profile.json")  # doctest: +SKIP
    """

    model_config = ConfigDict(frozen=True)

    format: Literal["tiering-profile"] = "tiering-profile"
    format_version: Literal[1] = 1
    dataset: DatasetProfile | None = None
    traces: list[TraceProfile] = []

    def summary(self) -> Summary:
        """Return the most important figures of the dataset and of each trace."""
        rows = [] if self.dataset is None else list(self.dataset.summary()[1])
        return "Profile", [*rows, *(("trace", f"{trace.source}: {trace.moved()}") for trace in self.traces)]


def write_profile(profile: Profile, path: str | Path) -> None:
    """Write profile.json, which appears complete or not at all.

    Args:
        profile: The profile.
        path: The file. An existing one is replaced.

    Raises:
        OSError: The file cannot be written.

    Example:
        >>> profile = tiering.Profile(dataset=tiering.profile_dataset("photos"))  # doctest: +SKIP
        >>> tiering.write_profile(profile, "profile.json")  # doctest: +SKIP
    """
    write_output(path, profile.model_dump_json(indent=2) + "\n")


def profile_at(path: str | Path, *, reencoded: bool = False, progress: Progress = no_progress) -> Profile:
    """Read a profile.json, or profile a directory of images.

    path: of either, or the URL of a dataset. reencoded, progress: as for profile_dataset; a profile.json is taken as it
    is.

    Raises:
        DatasetError: There is no such file or directory, or no image in the directory.
        ProfileError: The file is not a profile.
    """
    if "://" in str(path) or Path(path).is_dir():
        return Profile(dataset=profile_dataset(path, reencoded=reencoded, progress=progress))
    if not Path(path).exists():
        raise DatasetError(str(path), found="there is nothing at that path", action="Check the path.")
    if not is_profile(path):
        data, trace = command("tiering", "profile", str(path)), command("tiering", "profile", "--trace", str(path))
        raise ProfileError(
            str(path),
            found="neither a profile nor a directory of images",
            action=f"Profile it first: {data} -o profile.json, or if it is a trace: {trace} -o profile.json",
        )
    return read_profile(path)


def read_profile(path: str | Path) -> Profile:
    """Read profile.json.

    Args:
        path: A file that `tiering profile -o` or `write_profile` wrote.

    Returns:
        The profile.

    Raises:
        ProfileError: It is not a profile, or has a newer format version.
        OSError: It cannot be read.

    Example:
        >>> tiering.read_profile("profile.json").dataset.files  # doctest: +SKIP
        60000
    """
    text = Path(path).read_bytes()
    try:
        return Profile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        raise ProfileError(
            str(path),
            found=f"not a profile of format version 1: {field}: {first['msg'].lower()}",
            action="Make it again: tiering profile DATASET -o profile.json",
        ) from error
