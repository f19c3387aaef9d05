"""The accelerators of a training job: how fast they take samples, and what an hour of them costs.

The table is accelerators.toml: models as MLPerf Storage emulates them (a batch is read, then the accelerator computes
for a fixed time), and list prices of nodes. Each figure has its source and date.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from functools import cache
from importlib import resources
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from tiering.advice.job import Job
from tiering.errors import UsageError
from tiering.units import format_count, format_seconds, format_usd

#: The model that a device alone, such as "h100", stands for: the one that trains on photographs.
_USUAL: Final = "resnet50"


class Accelerator(BaseModel):
    """A model on one accelerator, as MLPerf Storage emulates it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="its name on the command line")
    model: str = Field(description="the model that it trains")
    device: str = Field(description="the accelerator")
    batch_size: int = Field(gt=0, description="samples of a step")
    step_seconds: float = Field(gt=0, description="s that the accelerator computes for each batch")
    sample_bytes: float = Field(gt=0, description="B of a mean sample of the emulated dataset")
    utilisation: float = Field(gt=0, le=1, description="share of busy time that MLPerf Storage asks for")
    source: str = Field(description="address of the document")
    published: date = Field(description="date of the document")

    @property
    def samples_per_s(self) -> float:
        """Samples per second that one accelerator takes when it never waits: batch_size / step_seconds."""
        return self.batch_size / self.step_seconds


class Node(BaseModel):
    """A machine with accelerators that can be rented: the list price on demand."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    cloud: str
    region: str
    device: str = Field(description="its accelerators")
    accelerators: int = Field(gt=0, description="how many it has")
    price: float = Field(gt=0, description="USD an hour")
    source: str = Field(description="address of the document")
    published: date = Field(description="date of the document")

    @property
    def accelerator_usd(self) -> float:
        """USD an hour for each accelerator, its share of the node included."""
        return self.price / self.accelerators


def load_accelerators() -> tuple[Accelerator, ...]:
    """Return the accelerators of the table.

    Example:
        >>> [round(one.samples_per_s) for one in load_accelerators() if one.name == "resnet50-h100"]
        [1786]
    """
    return _tables()[0]


def find_accelerator(name: str) -> Accelerator:
    """Return the accelerator of this name.

    Args:
        name: A model and a device, such as "unet3d-a100", or a device alone, which stands for ResNet-50 on it.

    Raises:
        UsageError: For any other name.

    Example:
        >>> find_accelerator("h100").name
        'resnet50-h100'
    """
    wanted = name.strip().lower()
    for found in load_accelerators():
        if wanted in (found.name, found.name.removeprefix(f"{_USUAL}-")):
            return found
    names = ", ".join(found.name for found in load_accelerators())
    raise UsageError("accelerator", rule=f"must be one of {names}", found=repr(name))


def cheapest_node(device: str, cloud: str | None = None) -> Node | None:
    """Return the node with the lowest price for each accelerator of this device; None where no price is known.

    Args:
        device: The device of an Accelerator.
        cloud: Only nodes of this cloud, where any of its prices is known.
    """
    nodes = [node for node in _tables()[1] if node.device == device]
    own = [node for node in nodes if node.cloud == cloud]
    return min(own or nodes, key=lambda node: node.accelerator_usd, default=None)


def with_accelerators(job: Job, name: str, per_node: int = 1, cloud: str | None = None) -> Job:
    """Return the job with the rate and the hourly price of its accelerators, where it gives none itself.

    The rate is nodes x per_node x batch size / compute time, in samples/s; the price of an hour of a node is
    per_node x the list price of one accelerator. `Job.notes` says where both come from.

    Args:
        job: The training. Its number of nodes counts, so set that first.
        name: The accelerator, as for find_accelerator.
        per_node: Accelerators of each node.
        cloud: The cloud whose price counts, where one is known. By default the lowest of all.

    Raises:
        UsageError: For an unknown name, below 1 accelerator, and for a job that gives both figures itself.

    Example:
        >>> with_accelerators(Job(nodes=2), "h100", per_node=8).samples_per_s
        28571.428571428572
    """
    found = find_accelerator(name)
    if per_node < 1:
        raise UsageError("accelerators_per_node", rule="must be at least 1", found=str(per_node))
    if job.samples_per_s is not None and job.hour_usd is not None:
        raise UsageError(
            "accelerator",
            rule="takes only one of `samples_per_s` and `hour_usd` beside it",
            found="both",
        )
    node = cheapest_node(found.device, cloud)
    return replace(
        job,
        samples_per_s=job.samples_per_s or job.nodes * per_node * found.samples_per_s,
        hour_usd=per_node * node.accelerator_usd if job.hour_usd is None and node is not None else job.hour_usd,
        notes=(*job.notes, *_notes(job, name, found, node, per_node, cloud)),
    )


def _notes(
    job: Job, name: str, found: Accelerator, node: Node | None, per_node: int, cloud: str | None
) -> Iterator[str]:
    if name.strip().lower() != found.name:
        others = [one.name for one in load_accelerators() if one.device == found.device and one != found]
        yield f"{name} stands for {found.name}: {found.model} on one {found.device}. Others: {', '.join(others)}."
    if job.samples_per_s is None:
        total = job.nodes * per_node
        yield (
            f"The job takes {format_count(total * found.samples_per_s)} samples/s: {format_count(total)} "
            f"{found.device} in all, each with a batch of {found.batch_size} samples of {found.model} in "
            f"{format_seconds(found.step_seconds)} (MLPerf Storage, {found.published}); `samples_per_s` changes that."
        )
    if job.hour_usd is None and node is None:
        yield f"No list price of a node with {found.device} is known; `hour_usd` gives the price of waiting."
    elif job.hour_usd is None and node is not None:
        yield (
            f"An hour in which a node waits costs {format_usd(per_node * node.accelerator_usd)} USD: {per_node} x "
            f"{format_usd(node.accelerator_usd)} USD for one {found.device} of {node.name} in {node.region} (list "
            f"price on demand, {node.published}, the lowest known{_of_cloud(node, cloud)}); `hour_usd` changes that."
        )


def _of_cloud(node: Node, cloud: str | None) -> str:
    if cloud is None:
        return ""
    return f" of {cloud}" if node.cloud == cloud else f", because none of {cloud} is"


@cache
def _tables() -> tuple[tuple[Accelerator, ...], tuple[Node, ...]]:
    content = tomllib.loads(resources.files("tiering.advice").joinpath("accelerators.toml").read_text("utf-8"))
    return (
        tuple(Accelerator.model_validate({"name": name, **table}) for name, table in content["accelerator"].items()),
        tuple(Node.model_validate({"name": name, **table}) for name, table in content["node"].items()),
    )
