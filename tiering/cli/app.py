"""The program `tiering`: its verbs, its exit codes, and the one place where errors become words."""

from __future__ import annotations

from typing import Annotated

import typer
from typer.core import TyperGroup

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
    model,
    place,
    probe,
    profile,
    recommend,
    report,
    tiers,
    trace,
    verify,
)
from tiering.cli.discreet import keep_secrets
from tiering.cli.output import note, prepare_streams
from tiering.errors import TieringError, from_os_error
from tiering.signals import ending_interrupts, exit_code_of

EPILOG = (
    "Exit codes: 0 success; 1 the answer is no (verify found damage); 2 usage; 3 bad input; "
    "4 environment (disk full, no permission); 130 interrupted (143 by SIGTERM)."
)


class Verbs(TyperGroup):
    """The group of verbs: turns every error that is expected into one line and an exit code."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        """Run the verb; with --debug, let the traceback through."""
        try:
            with ending_interrupts():
                return super().invoke(ctx)
        except TieringError as error:
            if ctx.params["debug"]:
                raise
            failure = error
        except BrokenPipeError:
            raise
        except OSError as error:
            if ctx.params["debug"]:
                raise
            failure = from_os_error(error)
        except KeyboardInterrupt as interruption:
            note("Interrupted. The same command goes on from what is done.")
            raise typer.Exit(exit_code_of(interruption)) from None
        note(f"{type(failure).__name__}: {failure}")
        raise typer.Exit(failure.exit_code)


app = typer.Typer(
    name="tiering",
    cls=Verbs,
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
    debug: Annotated[bool, typer.Option("--debug", envvar="TIERING_DEBUG", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Profile image datasets and I/O traces, say where and how to keep the data, pack it, and serve it fast.

    Example: `tiering profile photos/ --trace train.strace`
    """


app.command("profile")(profile.profile)
app.command("trace", context_settings={"allow_interspersed_args": False})(trace.trace)
app.command("classify")(classify.classify)
app.command("convert")(convert.convert)
app.command("append")(append.append)
app.command("verify")(verify.verify)
app.command("info")(info.info)
app.command("export")(export.export)
app.command("bench")(bench.bench)
app.add_typer(cache.cache, name="cache")
app.add_typer(model.model, name="model")
app.command("estimate")(estimate.estimate)
app.command("recommend")(recommend.recommend)
app.command("report")(report.report)
app.command("place")(place.place)
app.add_typer(tiers.tiers, name="tiers")
app.command("probe")(probe.probe)


def main() -> None:
    """Run the program."""
    prepare_streams()
    keep_secrets()
    app()


if __name__ == "__main__":
    main()
