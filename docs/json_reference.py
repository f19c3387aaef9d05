"""Write docs/reference/json.md: the schema of each --json document, from the types that the commands print.

Run it from the repository's root: python -m docs.json_reference
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NotRequired

from pydantic import TypeAdapter
from typing_extensions import TypedDict

from tiering.advice.cache_size import CacheSizes
from tiering.advice.estimate import KeptAs
from tiering.advice.recommendation import Recommendation
from tiering.advice.saved_advice import SavedAdvice
from tiering.advice.tier import Tier
from tiering.cache.maintenance import CacheCheck, CacheInfo
from tiering.cache.stats import CacheStats
from tiering.cli.output import JSON_VERSION
from tiering.measure.measurement import Measurement
from tiering.packing.log import StoreLog
from tiering.packing.relabel import Relabelled
from tiering.packing.remove import Removed
from tiering.packing.sync import Synced
from tiering.packing.verification import Verification
from tiering.placement.dataset_advice import CacheToBuy, JobShare, Move
from tiering.placement.dataset_plan import PlacedDataset
from tiering.placement.file_lists import FileList
from tiering.placement.plan import PlacementSummary
from tiering.placement.survey import Survey
from tiering.probing.probe import Probe
from tiering.store.manifest import Manifest
from tiering.trace.waiting import Waiting
from tiering.trace.watching.job_progress import JobProgress
from tiering.trace.watching.observation import SourceUse
from tiering.workload.cause import Cause
from tiering.workload.profile import Profile
from tiering.workload.verdict import Verdict

PAGE: Final = Path(__file__).parent / "reference" / "json.md"


class SourcedVerdict(TypedDict):
    """The verdict on one trace: its fields stand beside `source`, the trace's path.

    Attributes:
        causes: Where a watched or profiled job waits, the most important first; empty of other traces.
    """

    source: str
    causes: list[Cause]


class Verdicts(TypedDict):
    """A verdict on each trace."""

    verdicts: list[SourcedVerdict]


class Measurements(TypedDict):
    """A measurement of each store."""

    measurements: list[Measurement]


class Repair(TypedDict):
    """The shards that were packed again."""

    store: str
    repaired: list[str]


class Export(TypedDict):
    """The number of samples written."""

    store: str
    directory: str
    samples: int


class Removal(TypedDict):
    """The origins whose samples were removed."""

    removed: list[str]


class Plan(TypedDict):
    """A placement, the same with the catalog of --what-if, and the file lists that were written.

    Attributes:
        datasets: Each dataset, where datasets are placed.
        moves: The ten moves that gain most.
        caches: Caches that save more than they cost.
        jobs: What each job gets of each tier that it uses.
    """

    plan: PlacementSummary
    what_if: NotRequired[PlacementSummary]
    lists: list[FileList]
    datasets: NotRequired[list[PlacedDataset]]
    moves: NotRequired[list[Move]]
    caches: NotRequired[list[CacheToBuy]]
    jobs: NotRequired[list[JobShare]]


class WatchResult(TypedDict):
    """What a watch recorded: the last line of its output.

    Attributes:
        path: The trace.
        status: Exit status of a command that was started, 128 + n if signal n ended it; null for another job, and for a
            command that still ran.
        seconds: How long the job was watched, s.
        sources: What each source of evidence shows and lacks.
        events: How many events the trace has.
        bytes_read, bytes_written: B in these events.
        notes: Remarks; the trace has them as well.
        watcher_share: The share of one core that watching took.
        interrupted: Whether a signal ended it.
        waiting: Where the job's processes spent their time; null if it ended before the first look.
        causes: What slows the job down, the most important first.
    """

    path: str
    status: int | None
    seconds: float
    sources: list[SourceUse]
    events: int
    bytes_read: int
    bytes_written: int
    notes: list[str]
    watcher_share: float
    interrupted: bool
    waiting: Waiting | None
    causes: list[Cause]


class Tiers(TypedDict):
    """The tiers of the catalog."""

    tiers: list[Tier]


class Warned(TypedDict):
    """A figure of a tier that is not plausible."""

    tier: str
    warning: str


class CatalogCheck(TypedDict):
    """The names in a catalog, a warning for each figure that is not plausible, and all that is wrong."""

    tiers: list[str]
    warnings: list[Warned]
    errors: list[str]


class Document(NamedTuple):
    """A document: the commands that print it, its format, the type of its content, and further keys by type."""

    commands: str
    name: str
    content: Any
    further: Mapping[str, Any] = MappingProxyType({})


DOCUMENTS: Final = (
    Document("profile", "tiering-profile", Profile),
    Document("watch (each look)", "tiering-look", JobProgress),
    Document("watch (at the end)", "tiering-watch", WatchResult),
    Document("classify", "tiering-verdicts", Verdicts),
    Document("convert, append, info", "tiering", Manifest),
    Document("append --sync", "tiering-sync", Synced),
    Document("relabel", "tiering-relabel", Relabelled),
    Document("remove", "tiering-removal", Removed, {"caches": list[str]}),
    Document("log", "tiering-log", StoreLog),
    Document("repair", "tiering-repair", Repair),
    Document("verify", "tiering-verification", Verification, {"ok": bool}),
    Document("export", "tiering-export", Export),
    Document("bench", "tiering-benchmark", Measurements),
    Document("cache info", "tiering-cache", CacheInfo),
    Document("cache warm", "tiering-cache-counts", CacheStats),
    Document("cache verify", "tiering-cache-check", CacheCheck),
    Document("cache clear", "tiering-cache-removal", Removal),
    Document("cache size", "tiering-cache-sizes", CacheSizes),
    Document("model evaluate, model show", "tiering-model-figures", dict[str, float]),
    Document(
        "estimate", "tiering-estimate", dict[str, float | None], {"text": dict[str, str], "kept_as": list[KeptAs]}
    ),
    Document("recommend", "tiering-recommendation", Recommendation),
    Document("recommend -o", "tiering-advice", SavedAdvice),
    Document("survey", "tiering-survey", Survey),
    Document("place", "tiering-placement", Plan),
    Document("probe", "tiering-probe", Probe),
    Document("tiers list", "tiering-tiers", Tiers),
    Document("tiers show", "tiering-tier", Tier),
    Document("tiers check", "tiering-catalog-check", CatalogCheck),
)


def schema_of(document: Document) -> dict[str, Any]:
    """Return the JSON schema of a document as it is printed, with `format` and `format_version`."""
    schema = TypeAdapter(document.content).json_schema(mode="serialization")
    if "SourcedVerdict" in schema.get("$defs", {}):
        verdict = TypeAdapter(Verdict).json_schema(mode="serialization")
        sourced = schema["$defs"]["SourcedVerdict"]
        sourced["properties"] |= verdict["properties"]
        sourced["required"] += verdict["required"]
        schema["$defs"] |= verdict["$defs"]
    properties = schema.setdefault("properties", {})
    required = schema.setdefault("required", [])
    if "format_version" not in properties:
        ours = {"format": {"const": document.name}, "format_version": {"const": JSON_VERSION}}
        further = {name: TypeAdapter(kind).json_schema(mode="serialization") for name, kind in document.further.items()}
        for each in further.values():
            if parts := each.pop("$defs", {}):
                schema["$defs"] = schema.get("$defs", {}) | parts
        schema["properties"] = ours | properties | further
        required += [*ours, *further]
    # Keys that a description lacks are found by the test, not by a reader.
    if "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    return schema


def page() -> str:
    """Return the page."""
    lines = [
        "# JSON documents",
        "",
        "This page is for those who read tiering's results with programs of their own.",
        "With `--json` a command prints one document on stdout and nothing else there; `recommend -o` writes one into",
        "a file; `tiering watch` prints one for each look, each in a line, and the result as the last line.",
        "`format` names the kind of document. `format_version` rises when a key changes its meaning or goes; new keys",
        "may come at any time.",
        "Sizes are bytes, times are seconds, rates are per second, shares lie in [0, 1], and money is USD.",
        "",
        "This page is generated from the types that the commands print: `python -m docs.json_reference`.",
        "",
        "| command | `format` |",
        "| --- | --- |",
        *(f"| `tiering {document.commands.replace(', ', '`, `tiering ')}` | [`{document.name}`](#{document.name}) |"
          for document in DOCUMENTS),
    ]  # fmt: skip
    parts: dict[str, dict[str, Any]] = {}
    for document in DOCUMENTS:
        schema = schema_of(document)
        for name in [name for name, part in schema.get("$defs", {}).items() if parts.get(name, part) != part]:
            schema = _renamed(schema, name, f"{name} in {document.name}")
        parts |= schema.get("$defs", {})
        lines += ["", f"## {document.name}", "", *_table(schema)]
    lines += ["", "# Parts of documents"]
    for name in sorted(parts):
        lines += ["", f"## {name}", "", *_table(parts[name])]
    return "\n".join(lines) + "\n"


def _renamed(schema: dict[str, Any], name: str, other: str) -> dict[str, Any]:
    """Return a schema in which a part has another name, because two types in different rooms are called the same."""
    text = json.dumps(schema).replace(f'"#/$defs/{name}"', f'"#/$defs/{other}"')
    renamed: dict[str, Any] = json.loads(text)
    renamed["$defs"][other] = renamed["$defs"].pop(name)
    return renamed


def _table(schema: dict[str, Any]) -> Iterator[str]:
    described = _described(schema.get("description", ""))
    yield "| key | type | |"
    yield "| --- | --- | --- |"
    needed = schema.get("required", [])
    for name, found in schema.get("properties", {}).items():
        meaning = found.get("description") or described.get(name, "")
        optional = "" if name in needed or "default" in found else "may be missing"
        yield f"| `{name}` | {_type(found)} | {_cell('; '.join(filter(None, (meaning, optional))))} |"
    if isinstance(schema.get("additionalProperties"), dict):
        yield f"| any other | {_type(schema['additionalProperties'])} | |"


def _described(docstring: str) -> dict[str, str]:
    """Return the meaning of each attribute in a Google-style docstring."""
    _, _, attributes = docstring.partition("Attributes:\n")
    found = re.findall(r"^    (\w+(?:, \w+)*): (.*(?:\n        .*)*)", attributes, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in found for name in names.split(", ")}


def _type(schema: dict[str, Any]) -> str:
    """Return a type in words."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower().replace(' ', '-')})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(each) for each in schema["anyOf"]))
    if "const" in schema or "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema.get("enum", [schema.get("const")]))
    kind = str(schema.get("type", "any"))
    if "prefixItems" in schema:
        return f"array of {len(schema['prefixItems'])}: {', '.join(map(_type, schema['prefixItems']))}"
    if kind == "array":
        return f"array of {_type(schema.get('items', {}))}"
    values = schema.get("additionalProperties")
    return f"object: {_type(values)} by name" if isinstance(values, dict) else kind


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
