"""Model files that somebody made to do harm, and a child process in which each is loaded and asked.

The changes of fields are generated from the schema of a model, so that a new field is attacked without anyone
remembering it.
"""

from __future__ import annotations

import copy
import io
import json
import multiprocessing
import pickle
import random
import resource
import signal
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from tests.workload.traces import training
from tiering.errors import ModelError
from tiering.workload.classifier import load_model, shipped
from tiering.workload.features import FEATURE_NAMES
from tiering.workload.verdict import classify

SECONDS = 60
MOST_RSS = 1 << 30

Members = dict[str, bytes]


def members_of(path: Path) -> Members:
    """A model file taken apart."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def joined(members: Members, method: int = zipfile.ZIP_STORED) -> bytes:
    """A model file put together, its CRCs right whatever is in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def npy(array: np.ndarray, *, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def number(value: object) -> dict:
    """A JsonNode."""
    return {"__class__": "str", "__module__": "builtins", "__loader__": "JsonNode", "content": json.dumps(value)}


def listing(*values: object, **extra: object) -> dict:
    """A ListNode."""
    return {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": list(values)} | extra


class Case:
    """A model in parts, to be spoiled."""

    def __init__(self, members: Members) -> None:
        self.members = dict(members)
        self.schema = json.loads(members["schema.json"])
        self.document = self.schema["content"]
        self.forest = self.document["estimator"]["content"]["content"]
        self.trees = self.forest["estimators_"]["content"]
        self.tree = self.trees[0]["content"]["content"]["tree_"]
        self.state = self.tree["content"]["content"]

    def array(self, node: dict) -> np.ndarray:
        return np.load(io.BytesIO(self.members[node["file"]]))

    def put(self, node: dict, array: np.ndarray | bytes) -> None:
        self.members[node["file"]] = array if isinstance(array, bytes) else npy(array)

    def nodes(self, field: str, at: int, value: float) -> None:
        nodes = self.array(self.state["nodes"])
        nodes[field][at] = value
        self.put(self.state["nodes"], nodes)

    def bytes(self) -> bytes:
        return joined(self.members | {"schema.json": json.dumps(self.schema).encode()})


def by_hand(members: Members) -> Iterator[tuple[str, bytes]]:
    """The attacks that somebody thought of."""
    for name, spoil in _spoilers().items():
        case = Case(members)
        spoil(case)
        yield name, case.bytes()
    yield from _archives(members)


def _spoilers() -> dict[str, Callable[[Case], object]]:
    found: dict[str, Callable[[Case], object]] = {}
    for field, values in {
        "left_child": (0, -2, 10**6, 2**62, -(2**62), 1 << 31),
        "right_child": (0, -1, -5, 10**6, 2**63 - 1),
        "feature": (20, -1, -3, 10**6, 2**62),
        "threshold": (np.nan, np.inf, -np.inf),
    }.items():
        for value in values:
            found[f"{field} {value}"] = lambda case, field=field, value=value: case.nodes(field, 0, value)
    found |= {
        "a cycle of two": lambda case: case.nodes("left_child", 1, 0),
        "a cycle through the last node": lambda case: case.nodes("right_child", -1, 0) or case.nodes("left_child", -1, 0),
        "a leaf with one child": lambda case: case.nodes("left_child", -1, 1),
        "a child just outside": lambda case: case.nodes("left_child", 0, len(case.array(case.state["nodes"]))),
        "no nodes": lambda case: case.put(case.state["nodes"], case.array(case.state["nodes"])[:0]),
        "half of the nodes": lambda case: case.put(case.state["nodes"], case.array(case.state["nodes"])[::2].copy()),
        "nodes in two dimensions": lambda case: case.put(case.state["nodes"], case.array(case.state["nodes"])[None]),
        "nodes that are numbers": lambda case: case.put(case.state["nodes"], np.arange(9)),
        "nodes that are a pickle": lambda case: case.put(case.state["nodes"], npy(np.array([{}]), pickled=True)),
        "nodes of other fields": lambda case: case.put(case.state["nodes"], np.zeros(9, [("left_child", "<i8"), ("x", "V56")])),
        "values that swap with nodes": lambda case: case.state.update(nodes=case.state["values"], values=case.state["nodes"]),
        "values in two dimensions": lambda case: case.put(case.state["values"], case.array(case.state["values"])[:, 0]),
        "too few values": lambda case: case.put(case.state["values"], case.array(case.state["values"])[:-1]),
        "values of one class": lambda case: case.put(case.state["values"], case.array(case.state["values"])[:, :, :1].copy()),
        "values in float32": lambda case: case.put(case.state["values"], case.array(case.state["values"]).astype("f4")),
        "values in Fortran order": lambda case: case.put(case.state["values"], np.asfortranarray(case.array(case.state["values"]))),
        "values of the other endianness": lambda case: case.put(case.state["values"], case.array(case.state["values"]).astype(">f8")),
        "values that are not numbers": lambda case: case.put(case.state["values"], case.array(case.state["values"]) * np.nan),
        "values below zero": lambda case: case.put(case.state["values"], -case.array(case.state["values"])),
        "values too large": lambda case: case.put(case.state["values"], case.array(case.state["values"]) * 1e300),
        "a billion classes": lambda case: case.put(case.tree["__reduce__"]["args"]["content"][1], np.array([10**9])),
        "a shape of a terabyte": lambda case: case.put(case.state["values"], _of_shape((10**12,))),
        "a shape of nothing times much": lambda case: case.put(case.state["values"], _of_shape((0, 10**18))),
        "a shape below zero": lambda case: case.put(case.state["values"], _of_shape((-1, 4))),
        "a shape that is no tuple": lambda case: case.put(case.state["values"], _header("{'descr': '<f8', 'fortran_order': False, 'shape': 8}")),
        "a dtype of a terabyte": lambda case: case.put(case.state["values"], _header("{'descr': '|S1099511627776', 'fortran_order': False, 'shape': (1,)}")),
        "a header that is code": lambda case: case.put(case.state["values"], _header("__import__('os').abort()")),
        "a header that is deep": lambda case: case.put(case.state["values"], _header("(" * 9000)),
        "an array of version 2": lambda case: case.put(case.state["values"], b"\x93NUMPY\x02\x00\xff\xff\xff\x7f"),
        "an array in no file": lambda case: case.state["values"].update(file="nothing.npy"),
        "an array in the schema": lambda case: case.state["values"].update(file="schema.json"),
        "an array outside": lambda case: case.state["values"].update(file="../../etc/passwd"),
        "an array in JSON": lambda case: case.state["values"].update(type="json", content=[], shape=listing()),
        "no trees": lambda case: case.trees.clear(),
        "a tree many times": lambda case: case.forest["estimators_"].update(content=[case.trees[0]] * 500),
        "trees that are no trees": lambda case: case.forest["estimators_"].update(content=[number(1)] * 3),
        "trees by reference": lambda case: case.forest["estimators_"].update(content=[{"__id__": case.trees[0]["__id__"]}] * 400),
        "a forest in itself": lambda case: case.trees.append({"__id__": case.document["estimator"]["__id__"]}),
        "a tree for a forest": lambda case: case.document.update(estimator=case.trees[0]),
        "no estimator": lambda case: case.document.pop("estimator"),
        "classes that are others": lambda case: case.put(case.forest["classes_"], np.arange(4) + 1),
        "a thousand threads": lambda case: case.forest.update(n_jobs=number(10**6)),
        "medians without end": lambda case: case.put(case.document["medians"], np.full(20, np.inf)),
        "medians beyond float32": lambda case: case.put(case.document["medians"], np.full(20, 1e39)),
        "medians of another shape": lambda case: case.put(case.document["medians"], np.zeros(21)),
        "medians in text": lambda case: case.put(case.document["medians"], np.array(["x"] * 20)),
        "lists within lists by reference": lambda case: case.document.update(extra=_laughs()),
        "a list in itself": lambda case: case.document.update(extra=listing({"__id__": 1}, __id__=1)),
        "figures that are deep": lambda case: case.document.update(figures=_deep(100)),
        "figures with escapes": lambda case: case.document["figures"]["content"].update({"\x1b[2J": number(1)}),
        "a text of megabytes": lambda case: case.document.update(format=number("x" * 4_000_000)),
        "a number of megabytes": lambda case: case.document.update(temperature=number(0.5) | {"content": "9" * 4_000_000}),
        "numbers that nest": lambda case: case.document.update(temperature=number(0.5) | {"content": "[" * 900}),
        "another protocol": lambda case: case.schema.update(protocol=10**9),
        "a list for a schema": lambda case: setattr(case, "schema", [case.schema]),
        "names with escapes": lambda case: case.document.update(extra=_loads("ObjectNode", "\x1b[2J", "x\n")),
    }  # fmt: skip
    for temperature in (0.0, -1.0, 1e-300, 1e300, float("nan"), float("inf"), True, "hot", None):
        found[f"temperature {temperature}"] = lambda case, value=temperature: case.document.update(
            temperature=number(value)
        )
    for loader, module, kind in (
        ("FunctionNode", "os", "abort"),
        ("MethodNode", "subprocess", "run"),
        ("PartialNode", "functools", "partial"),
        ("OperatorFuncNode", "operator", "methodcaller"),
        ("TypeNode", "os", "system"),
        ("ReduceNode", "builtins", "eval"),
        ("SparseMatrixNode", "scipy.sparse", "csr_matrix"),
        ("RandomStateNode", "numpy.random", "RandomState"),
        ("BytesNode", "builtins", "bytes"),
        ("ObjectNode", "sklearn.svm._classes", "SVC"),
        ("ObjectNode", "builtins", "type"),
        ("LossNode", "os", "abort"),
        ("NoSuchNode", "builtins", "str"),
        ("JsonNode", ["list"], {"a": 1}),
    ):
        found[f"{loader} {module}.{kind}"] = lambda case, each=(loader, module, kind): case.document.update(
            extra=_loads(*each)
        )
        found[f"{loader} {module}.{kind} for medians"] = lambda case, each=(loader, module, kind): case.document.update(
            medians=_loads(*each)
        )
    return found


def _archives(members: Members) -> Iterator[tuple[str, bytes]]:
    """Attacks on the archive itself."""
    good = joined(members)
    array = next(name for name in members if name.endswith(".npy"))
    yield "nothing", b""
    yield "a text", b"hello"
    yield "a pickle", pickle.dumps({"estimator": None})
    yield "an archive in an archive", joined({"model.skops": good})
    yield "a bomb of zeros", joined(members | {"9.npy": bytes(65 << 20)}, zipfile.ZIP_DEFLATED)
    yield "a bomb for an array", joined(members | {array: bytes(65 << 20)}, zipfile.ZIP_DEFLATED)
    yield "a bomb for a schema", joined(members | {"schema.json": b" " * (9 << 20)}, zipfile.ZIP_DEFLATED)
    yield "a bomb by another method", joined(members | {array: bytes(4 << 20)}, zipfile.ZIP_BZIP2)
    yield "a bomb by LZMA", joined(members | {array: bytes(4 << 20)}, zipfile.ZIP_LZMA)
    yield "a schema of lists", joined(members | {"schema.json": b"[" + b"[]," * 2_600_000 + b"[]]"})
    yield "a schema that nests", joined(members | {"schema.json": b"[" * 1_000_000})
    yield "a schema of dicts that nest", joined(members | {"schema.json": b'{"a":' * 500_000})
    yield "a schema that is no text", joined(members | {"schema.json": b"\xff\xfe\x00"})
    yield "members without number", joined(members | {f"{number}.npy": b"" for number in range(50_000)})
    yield "members that are paths", joined(members | {"../../x": b""})
    yield "too large", good + bytes(20 << 20)
    # The table says less than there is, more than there is, another place, and that it is locked.
    for name, at, change in (
        ("size", 24, b"\x10\0\0\0"),
        ("size", 24, b"\xf0\xff\xff\x00"),
        ("place", 42, b"\xff\xff\xff\x7f"),
        ("lock", 8, b"\1\0"),
    ):
        table = good.rindex(b"PK\x01\x02") + at
        yield f"a table that lies about {name} {change.hex()}", good[:table] + change + good[table + len(change) :]
    yield "a table twice", good[: good.index(b"PK\x01\x02")] + good[good.index(b"PK\x01\x02") :] * 2


def by_field(members: Members, count: int) -> Iterator[tuple[str, bytes]]:
    """So many of all pairs of a field of a schema and a kind of nonsense."""
    case = Case(members)
    # One tree, and no state of an estimator that is never looked at: their fields are the same.
    del case.trees[1:]
    nonsense = (None, True, -1, 2**70, 1.5, "x", "../x", [], {}, [[]] * 3, number(-1), number(None), listing())
    pairs = [(path, value) for path in _paths(case.schema) for value in nonsense]
    for path, value in random.Random(7).sample(pairs, count):
        schema = copy.deepcopy(case.schema)
        place = schema
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value
        members = case.members | {"schema.json": json.dumps(schema).encode()}
        yield f"{'.'.join(map(str, path))} = {value!r}", joined(members)


def at_random(members: Members, good: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """Files cut and flipped anywhere, and flipped within their members, where no CRC tells."""
    chance = random.Random(7)
    for number_ in range(count):
        place, bit = chance.randrange(len(good)), 1 << chance.randrange(8)
        yield f"cut {number_} at {place}", good[:place]
        yield f"bit {bit} at {place}", good[:place] + bytes([good[place] ^ bit]) + good[place + 1 :]
        name = chance.choice([*members, *["schema.json"] * len(members)])
        data = bytearray(members[name])
        for _ in range(chance.choice([1, 1, 4, 40])):
            data[chance.randrange(len(data))] = chance.choice([0, 0xFF, 0x7F, chance.randrange(256)])
        yield f"{number_} bytes of {name}", joined(members | {name: bytes(data)})


def _paths(value: object, path: tuple = ()) -> Iterator[tuple]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _paths(each, (*path, key))
    elif isinstance(value, list):
        for at, each in enumerate(value[:1]):
            yield from _paths(each, (*path, at))


def _loads(loader: object, module: object, kind: object) -> dict:
    return {
        "__class__": kind, "__module__": module, "__loader__": loader, "content": {}, "type": "numpy", "file": "1.npy",
        "__reduce__": {"args": listing(number(1))},
    }  # fmt: skip


def _laughs() -> dict:
    """Thirty lists, each with the next one twice: what a walk that follows references never finishes."""
    node = listing(__id__=0)
    for depth in range(1, 30):
        node = listing(node, {"__id__": depth - 1}, __id__=depth)
    return node


def _deep(depth: int) -> dict:
    node = number(1)
    for _ in range(depth):
        node = listing(node)
    return node


def _of_shape(shape: tuple) -> bytes:
    return _header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}")


def _header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def attempted(directory: Path) -> dict[str, tuple[str, float, int]]:
    """Load and ask every file of a directory in a child process.

    Returns by name what became of it, s, and the child's peak of resident memory meanwhile, bytes. A file that ends the
    child or takes too long is named by that, and another child goes on behind it.
    """
    found: dict[str, tuple[str, float, int]] = {}
    left = sorted(path.name for path in directory.iterdir())
    context = multiprocessing.get_context("spawn")
    while left:
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=_attempt_all, args=(directory, left, theirs))
        child.start()
        theirs.close()
        try:
            while left and ours.poll(60 + SECONDS):
                name, *outcome = ours.recv()
                found[name] = tuple(outcome)
                left = left[1:]
        except EOFError:
            pass
        if left:
            child.kill()
        child.join()
        if left:
            found[left[0]] = (f"the process ended: {child.exitcode}", float(SECONDS), 0)
            left = left[1:]
    return found


def _attempt_all(directory: Path, names: list[str], results: object) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    shipped()
    for name in names:
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        signal.alarm(SECONDS)
        began = time.perf_counter()
        outcome = _attempt(directory / name)
        signal.alarm(0)
        results.send((name, outcome, time.perf_counter() - began, _peak()))


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def _attempt(path: Path) -> str:
    try:
        model = load_model(path)
        vectors = np.random.default_rng(1).uniform(-2, 20, (42, len(FEATURE_NAMES)))
        vectors[::3, 4] = np.nan
        chances = model.probabilities(vectors)
        classify(training(), model)
    except ModelError as error:
        return "refused" if str(error).isprintable() else f"unprintable: {error!r}"
    except BaseException as error:  # noqa: BLE001 - whatever else it is, it is the finding
        return f"{type(error).__name__}: {error}"
    right = chances.shape == (42, 4) and np.isfinite(chances).all() and np.allclose(chances.sum(axis=1), 1)
    return "right" if right else f"wrong: {chances}"
