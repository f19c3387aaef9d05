"""Write a report of one dataset and its traces into one HTML file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from tiering.advice.saved_advice import Assumptions, SavedAdvice
from tiering.dataset.profile import DatasetProfile
from tiering.reporting.advice import COLUMNS, WHAT_IF, in_words
from tiering.reporting.advice_charts import of_advice
from tiering.reporting.alerts import COLUMNS as ALERT_COLUMNS
from tiering.reporting.alerts import alert_rows, alerts_of
from tiering.reporting.chart import Chart
from tiering.reporting.content import Content, Reported, TracePart, gather
from tiering.reporting.dataset_charts import of_dataset
from tiering.reporting.evidence_charts import of_evidence
from tiering.reporting.field_charts import COLUMNS as FIELD_COLUMNS
from tiering.reporting.field_charts import field_rows, of_fields
from tiering.reporting.findings import findings
from tiering.reporting.frame import Section, render
from tiering.reporting.trace_charts import of_trace
from tiering.sources.account_lines import account_lines
from tiering.storage.output_file import write_output
from tiering.workload.verdict import Verdict


def write_report(
    source: Reported | Content,
    output: str | os.PathLike[str],
    traces: Sequence[str | os.PathLike[str]] = (),
    *,
    assumptions: Assumptions | None = None,
    advice: SavedAdvice | None = None,
    lenient: bool = False,
    columns: str | None = None,
    command: str = "",
    wording: Callable[[str], str] | None = None,
) -> None:
    """Write one HTML file that shows a dataset, its traces, their verdicts and the recommendations.

    Args:
        source: A profile.json, an advice.json, a directory of images, or a packed store; a path or a URL. Or the
            Profile or SavedAdvice itself.
        output: The file to write. It appears complete or not at all, and replaces an existing one.
        traces: Traces to show besides those of the profile.
        assumptions: The basis of the advice, if none was saved.
        advice: Advice on the same dataset, to show in place of new advice.
        lenient: Count damaged lines of a trace, and skip them.
        columns: Columns of a trace that is a table, as for `profile_trace`.
        command: The command line to name in the report, if there is one.
        wording: Rewrites each sentence of the advice, for readers who do not know the names of parameters.

    Raises:
        UsageError: The extra `report` is not installed, or the advice is on another dataset.
        DatasetError: The source is neither a profile nor images.
        StoreError: The source is a store that is damaged.
        ProfileError: The profile or the advice cannot be read.
        TraceError: A trace cannot be read.
        OSError: The file cannot be written.

    Example:
        >>> tiering.write_report("photos", "report.html", ["job.strace"])  # doctest: +SKIP
    """
    if not isinstance(source, Content):
        source = gather(
            source,
            [Path(trace) for trace in traces],
            assumptions=assumptions,
            advice=advice,
            lenient=lenient,
            columns=columns,
            command=command,
        )
    write_output(output, page_of(source, wording))


def charts_of(content: Content) -> list[Section]:
    """Return the sections of a report with their charts, in the order of the page."""
    sections: list[Section] = []
    if content.saved is not None:
        sections.append(("advice", "Recommendations", [of_advice(in_words(content.saved))]))
    for number, part in enumerate(content.traces, start=1):
        line = part.evidence.timeline if part.evidence is not None else None
        charts = of_trace(part.profile, part.verdict, line, number)
        if part.evidence is not None:
            # After the timeline, if there is one: what the processes did.
            at = 0 if line is None else 1
            charts[at:at] = of_evidence(part.evidence, number)
        sections.append((f"trace-{number}", f"Trace {part.profile.source}", charts))
    dataset = content.profile.dataset
    if dataset is not None:
        sections.append(("dataset", "Dataset", [*of_dataset(dataset), *of_fields(dataset.fields)]))
    return sections


def page_of(content: Content, wording: Callable[[str], str] | None = None) -> str:
    """Return the report as one HTML document.

    wording: as for write_report. Raises UsageError if the extra `report` is not installed.
    """
    dataset, saved = content.profile.dataset, content.saved
    sections = charts_of(content)
    charts = {name: each for name, _, each in sections}
    in_dataset: list[Chart] = [*charts.get("dataset", [])]
    of_fields_ = [chart for chart in in_dataset if chart.name.startswith("field-")]
    advice = in_words(saved, wording) if saved is not None else None
    return render(
        "page.html.jinja",
        title=content.title,
        contents=[
            ("findings", "What costs most", []),
            *sections,
            ("method", "How it was computed", []),
        ],
        origin=content.origin,
        advised=saved.origin if saved is not None else None,
        led_by=saved.led_by if saved is not None else None,
        workload=saved.recommendation.workload if saved is not None else "",
        findings=content.findings,
        timed=any(_is_timed(part) for part in (content.traces if saved is None else content.traces[:1])),
        reasons=[_reason(part.verdict) for part in content.traces],
        own_findings=[findings(None, None, [(part.profile, part.evidence)]) for part in content.traces],
        dataset=dataset,
        dataset_charts=[chart for chart in in_dataset if chart not in of_fields_],
        account=_account(dataset) if dataset is not None else [],
        fields=field_rows(dataset.fields if dataset is not None else []),
        field_columns=FIELD_COLUMNS,
        field_charts=of_fields_,
        pictures=content.pictures,
        traces=content.traces,
        trace_charts=[charts[f"trace-{number}"] for number in range(1, len(content.traces) + 1)],
        alert_columns=ALERT_COLUMNS,
        alerts=[alert_rows(alerts_of(part.profile, part.evidence)) for part in content.traces],
        advice=advice,
        pareto=charts["advice"][0] if advice is not None else None,
        given=saved.job if saved is not None else None,
        option_columns=("option", "mark", *COLUMNS),
        option_rows=[(row.name, row.mark, *row.cells) for row in advice.rows] if advice is not None else [],
        what_if_columns=WHAT_IF,
    )


def _is_timed(part: TracePart) -> bool:
    """Return whether a trace shows what takes the time of its processes."""
    return part.evidence is not None and part.evidence.process_times is not None


def _reason(verdict: Verdict) -> str:
    """Return what explains a verdict: the fact that defines it, else the heaviest for it, else why there is none."""
    if not verdict.facts:
        return "".join(note[0].lower() + note[1:].removesuffix(".") for note in verdict.notes[:1])
    defining = {"re-read-heavy": "reread_share", "write-heavy": "write_share", "read-once": "epochs"}
    speaking = [fact for fact in verdict.facts if not fact.against]
    first = [fact for fact in speaking if fact.feature == defining.get(verdict.workload)]
    return next((fact.text for fact in (*first, *speaking)), "")


def _account(dataset: DatasetProfile) -> list[str]:
    """Return the lines of what is packed, or would be, and what is left out."""
    return list(account_lines(dataset.account, "packed" if dataset.is_packed else "to pack", about=dataset.sampled))
