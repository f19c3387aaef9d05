"""The program `tiering`: its commands and exit codes, and how it turns errors into messages."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Final

import typer

from tiering import __version__
from tiering.cli import (
    append,
    bench,
    cache,
    classify,
    convert,
    estimate,
    export,
    info,
    log,
    model,
    place,
    probe,
    profile,
    recommend,
    relabel,
    remove,
    repair,
    report,
    survey,
    tiers,
    trace,
    verify,
    watch,
)
from tiering.cli.discreet import keep_secrets
from tiering.cli.output import note, prepare_streams
from tiering.cli.panels import DECIDING, LOOKING, PROGRAM, SERVING, STORES
from tiering.cli.verbs import Group, Verbs
from tiering.errors import MachineError, TieringError, from_os_error
from tiering.system import require_linux
from tiering.system.signals import ending_interrupts, exit_code_of

EPILOG = (
    "Exit codes: 0 success; 1 a check failed (verify found damage); 2 wrong usage; 3 bad input; "
    "4 a problem of this machine (disk full, no permission); 70 a bug in tiering; 130 interrupted (143 by SIGTERM); "
    "141 output pipe closed."
)

#: Typer's own exceptions: a requested exit, and a faulty command line (click's ClickException, whose name in Typer
#: differs between versions).
_OF_THE_PARSER: Final[tuple[type[Exception], ...]] = (typer.Exit, typer.BadParameter.__mro__[2])

#: EX_SOFTWARE in sysexits.h, and 128 + SIGPIPE.
_OUR_FAULT: Final = 70
_PIPE_CLOSED: Final = 141


class Program(Group):
    """All commands. Turns each expected error into one line and an exit code."""

    def _run(self, ctx: typer.Context) -> object:
        require_linux()
        with ending_interrupts():
            done = super().invoke(ctx)
        # Flush now: an error at interpreter exit could no longer be reported.
        sys.stdout.flush()
        return done

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the command, and show the traceback with --debug. Never exits with 1 by accident: that means damage."""
        try:
            return self._run(ctx)
        except _OF_THE_PARSER:
            raise
        except BrokenPipeError:
            # Python would write the rest of the buffer at exit, and fail again.
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - until the end of the process
            raise typer.Exit(_PIPE_CLOSED) from None
        except KeyboardInterrupt as interruption:
            note("Interrupted.")  # before a command began: each has a last line of its own
            raise typer.Exit(exit_code_of(interruption)) from None
        except Exception as error:  # noqa: BLE001 - errors become messages here
            if ctx.params["debug"]:
                traceback.print_exc()
            failure = _named(error)
            if failure is None:
                note(
                    f"tiering failed: {type(error).__name__}: {error}. This is a bug in tiering, not in your input."
                    " Run the same command again with --debug right after `tiering`, and report what it prints."
                )
                raise typer.Exit(_OUR_FAULT) from None
        note(f"{type(failure).__name__}: {failure}")
        raise typer.Exit(failure.exit_code)


def _named(error: Exception) -> TieringError | None:
    """Return the error to show; None for an unexpected one."""
    if isinstance(error, TieringError):
        return error
    if isinstance(error, OSError):
        return from_os_error(error)
    if isinstance(error, MemoryError):
        return MachineError("memory", found="less than is needed", action="Free some, or run it on a larger machine.")
    return None


app = Verbs(
    name="tiering",
    cls=Program,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"tiering {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool,
        typer.Option(
            "--debug", envvar="TIERING_DEBUG", rich_help_panel=PROGRAM, help="Show a traceback with every error."
        ),
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, rich_help_panel=PROGRAM, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Profile image datasets and I/O traces, advise where and how to keep the data, pack it, and serve it fast.

    Example: `tiering profile photos/ --trace train.strace`
    """


app.command("profile", rich_help_panel=LOOKING)(profile.profile)
app.command("trace", rich_help_panel=LOOKING, context_settings={"allow_interspersed_args": False})(trace.trace)
app.command("watch", rich_help_panel=LOOKING)(watch.watch)
app.command("classify", rich_help_panel=LOOKING)(classify.classify)
app.command("survey", rich_help_panel=LOOKING)(survey.survey)
app.add_typer(model.model, name="model", rich_help_panel=LOOKING)
app.command("estimate", rich_help_panel=DECIDING)(estimate.estimate)
app.command("recommend", rich_help_panel=DECIDING)(recommend.recommend)
app.command("report", rich_help_panel=DECIDING)(report.report)
app.command("place", rich_help_panel=DECIDING)(place.place)
app.add_typer(tiers.tiers, name="tiers", rich_help_panel=DECIDING)
app.command("probe", rich_help_panel=DECIDING)(probe.probe)
app.command("convert", rich_help_panel=STORES)(convert.convert)
app.command("append", rich_help_panel=STORES)(append.append)
app.command("relabel", rich_help_panel=STORES)(relabel.relabel)
app.command("remove", rich_help_panel=STORES)(remove.remove)
app.command("log", rich_help_panel=STORES)(log.log)
app.command("repair", rich_help_panel=STORES)(repair.repair)
app.command("verify", rich_help_panel=STORES)(verify.verify)
app.command("info", rich_help_panel=STORES)(info.info)
app.command("export", rich_help_panel=STORES)(export.export)
app.command("bench", rich_help_panel=SERVING)(bench.bench)
app.add_typer(cache.cache, name="cache", rich_help_panel=SERVING)


def main() -> None:
    """Run the program."""
    prepare_streams()
    keep_secrets()
    app()


if __name__ == "__main__":
    main()
