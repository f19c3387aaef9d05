"""From the options of a command to advice: the one way that `recommend` and `report` share."""

from __future__ import annotations

import inspect
import shlex
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import typer

from tiering.cli.job_options import JobOptions
from tiering.cli.output import RUNNING, status
from tiering.errors import UsageError
from tiering.system.machine import half_of_memory
from tiering.units import parse_capacity, parse_count, parse_network_rate, parse_number, parse_seconds

if TYPE_CHECKING:
    from tiering.advice.cpu_costs import Costs
    from tiering.advice.job import Job
    from tiering.advice.saved_advice import Assumptions
    from tiering.dataset.profile import DatasetProfile
    from tiering.workload.profile import Profile

Command = TypeVar("Command", bound=Callable[..., Any])


def takes_job_options(command: Command) -> Command:
    """Give a command every option of JobOptions, in place of its parameter `asked`."""
    own = inspect.signature(command)
    hints = get_type_hints(command, include_extras=True)
    of_options = get_type_hints(JobOptions, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        if parameter.name != "asked":
            parameters.append(parameter.replace(annotation=hints[parameter.name], kind=parameter.KEYWORD_ONLY))
            continue
        for each in fields(JobOptions):
            default = inspect.Parameter.empty if each.default is MISSING else each.default
            parameters.append(
                inspect.Parameter(
                    each.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=of_options[each.name]
                )
            )

    @wraps(command)
    def called(**given: Any) -> Any:
        asked = JobOptions(**{each.name: given.pop(each.name) for each in fields(JobOptions)})
        return command(asked=asked, **given)

    called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {each.name: each.annotation for each in parameters} | {"return": None}
    return called  # type: ignore[return-value]


def typed_job_options() -> list[str]:
    """Return the flags of JobOptions that the running command was given on its command line."""
    context = RUNNING.get()
    names = {each.name for each in fields(JobOptions)}
    if context is None:
        return []
    typed = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names and _source(context, parameter.name) == "COMMANDLINE"
    ]
    return sorted(typed)


def _source(context: typer.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    return "" if source is None else source.name


def command_line() -> str:
    """Return the command that runs, so that it can be pasted into a shell."""
    return shlex.join(["tiering", *sys.argv[1:]])


def assumptions_of(asked: JobOptions) -> Assumptions:
    """Return the basis of advice that a command was asked for. Raises UsageError for options that do not fit."""
    # Imported here so that `tiering --help` does not wait for Polars.
    from tiering.advice.catalog import load_catalog
    from tiering.advice.constraints import Limits
    from tiering.advice.saved_advice import Assumptions

    limits = Limits(
        budget_usd=asked.budget,
        max_epoch_s=None if asked.max_epoch_time is None else parse_seconds(asked.max_epoch_time),
        capacity=dict(_capacity(text) for text in asked.capacity or []),
        keep_originals=asked.must_keep_originals,
        single_files=asked.no_packing,
        gpu_utilisation=asked.gpu_utilisation,
        read_p99_s=None if asked.read_p99 is None else parse_seconds(asked.read_p99),
    )
    return Assumptions(
        job=_job(asked), current=asked.tier, tiers=load_catalog(asked.catalog, cloud=asked.cloud), limits=limits
    )


def calibrated(given: Assumptions, profile: Profile, asked: JobOptions) -> Assumptions:
    """Return the basis with this processor's costs, if --calibrate asks for them and there is a dataset to measure."""
    if not asked.calibrate or profile.dataset is None:
        return given
    return replace(given, costs=_costs(profile.dataset, given.job.resize, reencoded=given.job.reencode))


def _job(asked: JobOptions) -> Job:
    from tiering.advice.accelerators import with_accelerators
    from tiering.advice.job import Job
    from tiering.images.shape import parse_size

    every, every_s = _interval(asked.checkpoint_every)
    job = Job(
        epochs=parse_count(asked.epochs),
        decode=not asked.encoded,
        resize=None if asked.resize is None else parse_size(asked.resize),
        nodes=asked.nodes,
        ram=parse_capacity(asked.ram) if asked.ram is not None else half_of_memory(),
        hour_usd=asked.hour_price,
        samples_per_s=None if asked.samples_per_second is None else parse_number(asked.samples_per_second),
        checkpoint_bytes=None if asked.checkpoint_size is None else parse_capacity(asked.checkpoint_size),
        originals=asked.originals,
        runs_per_month=parse_number(asked.runs_per_month),
        reads_from=asked.reads_from,
        kept_days=asked.kept_days,
        checkpoint_every=every,
        checkpoint_every_s=every_s,
        threads=asked.threads,
        processes=asked.processes,
        cpus=asked.cpus,
        network=None if asked.network is None else parse_network_rate(asked.network),
        prefixes=asked.prefixes,
        reencode=asked.reencode,
    )
    if asked.accelerator is not None:
        return with_accelerators(job, asked.accelerator, asked.accelerators_per_node or 1, asked.cloud)
    if asked.accelerators_per_node is not None:
        raise UsageError("--accelerators-per-node", rule="needs --accelerator beside it")
    return job


def _interval(text: str) -> tuple[int, float | None]:
    """Return the epochs, or the seconds, of `--checkpoint-every`: a plain number counts epochs."""
    try:
        return parse_count(text), None
    except UsageError:
        pass
    try:
        return 1, parse_seconds(text)
    except UsageError as error:
        rule = "must be epochs such as 10, or a time such as 30min"
        raise UsageError(f"--checkpoint-every {text}", rule=rule) from error


def _capacity(text: str) -> tuple[str, int]:
    name, equals, size = text.partition("=")
    if not (name and equals):
        raise UsageError(f"--capacity {text}", rule="must be TIER=SIZE such as nvme=2TB")
    return name, parse_capacity(size)


def _costs(dataset: DatasetProfile, shape: tuple[int, int] | None, *, reencoded: bool) -> Costs:
    from tiering.measure.calibration import calibrate
    from tiering.store.open import open_store

    with status("Measuring this processor"), open_store(dataset.root) as store:
        return calibrate(store.files(), shape, reencoded=reencoded)
