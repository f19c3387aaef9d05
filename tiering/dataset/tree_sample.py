"""Sample a tree without listing all of it: draw some directories, and some files in each of them.

1. List the directories that contain directories, depth by depth, until there are enough to draw from. Their own files
are in the sample for certain.
2. Draw from the others with probabilities proportional to their likely contents, systematically in a random order
(Madow, Annals of Mathematical Statistics 20, 1949).
3. If a drawn directory contains more directories, choose one of these to represent all of them, and so on down (Knuth,
Estimating the efficiency of backtrack programs, Mathematics of Computation 29, 1975).

Example: of 1,000 class folders of equal size, 62 are drawn for 2,000 files. Each represents 1,000 / 62 = 16 folders.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tiering.dataset.estimates import EstimatedValue, FileSample, total_of_units
from tiering.dataset.tree_reads import Tree
from tiering.sources.left_out import BY_CONTENT, FIELD_FILES, LOOP, MISSING, LeftOut, Tally

#: Files drawn per directory, and the least number of directories. Fewer show too little of how they differ.
_FILES_EACH = 32
_LEAST_DRAWS = 30

#: Least number of random draws if some directories are in the sample for certain. Fewer do not show the variance.
_LEAST_BY_CHANCE = 12

#: How many directories are listed, and how many may be seen in them, before the rest is drawn at random.
_MAX_LISTED = 200
_MAX_SEEN = 100_000

#: A deeper path is treated as a loop of links.
_DEEPEST = 100


@dataclass(slots=True)
class TreeSample:
    """What a sample of a tree shows.

    sample: of the images. folders: path of the directory of each of the sample's units, "" or ending in "/". unseen:
    the directories that were not listed, each with its likely number of images. left_out: entries that are not images,
    extrapolated from those seen; others: their numbers by kind, with intervals. by_content: images without an image's
    name; they are also in others, and in no other figure.
    """

    sample: FileSample
    folders: list[bytes]
    unseen: list[tuple[bytes, float]]
    left_out: LeftOut
    others: dict[str, EstimatedValue]
    by_content: Tally


def sample_tree(tree: Tree, files: int, seed: int = 0) -> TreeSample:
    """Draw a sample of the images of a tree.

    files: how many to draw, at least 2; the result may have slightly more or fewer. seed: of the draws.
    Raises MachineError if the root cannot be read.
    """
    return _Sampler(tree, max(files, 2), seed).draw_all()


def draw(weights: npt.NDArray[np.float64], draws: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw units with probabilities proportional to their weights, systematically in a random order.

    weights: positive, float64 (n,). draws: at least 2.
    Returns how many units each one represents, float64 (n,): 0 if not drawn, 1 if in the sample for certain, more if
    drawn at random.
    """
    if len(weights) <= draws:
        return np.ones(len(weights))
    certain = np.zeros(len(weights), bool)
    while not certain.all():
        left = max(draws - int(certain.sum()), _LEAST_BY_CHANCE)
        expected = np.where(certain, 0.0, left * weights / weights[~certain].sum())
        if not (expected >= 1).any():
            break
        certain |= expected >= 1
    factor = certain.astype(np.float64)
    if not certain.all():
        # In a fixed order, one draw in k would allow only about k different samples.
        order = random.permutation(len(weights))
        ends = np.cumsum(expected[order])
        drawn = order[np.searchsorted(ends, (random.random() + np.arange(left)) * (ends[-1] / left), side="right")]
        factor[drawn] = 1 / expected[drawn]
    return factor


@dataclass(frozen=True, slots=True)
class _Unit:
    """A listed directory.

    prefix: its path. count: its images. names, sizes: of some of them, sizes if known. factor: how many directories it
    represents. draw: number of the random draw, -1 for none. left_out: its other entries.
    """

    prefix: bytes
    count: int
    names: list[bytes]
    sizes: list[int] | None
    factor: float
    draw: int
    left_out: LeftOut = field(default_factory=LeftOut)


class _Sampler:
    def __init__(self, tree: Tree, files: int, seed: int) -> None:
        self.tree = tree
        self.files = files
        self.random = np.random.default_rng(seed)
        self.units: list[_Unit] = []
        self.rounds: list[int] = []
        self.unseen: list[tuple[bytes, float]] = []

    def draw_all(self) -> TreeSample:
        draws = max(_LEAST_DRAWS, self.files // _FILES_EACH)
        waiting = self._frontier()
        turn = 0
        while waiting and turn < _DEEPEST:
            # A directory of size 0 must still have a chance.
            floor = 0.1 * sum(weight for _, weight in waiting) / len(waiting)
            waiting = sorted((prefix, weight + floor) for prefix, weight in waiting)
            factors = draw(np.array([weight for _, weight in waiting]), draws, self.random).tolist()
            below: list[tuple[bytes, float]] = []
            seen = weighed = 0.0
            for (prefix, weight), factor in zip(waiting, factors, strict=True):
                if factor == 1:
                    below += [(name, size) for name, size, _ in self._list(prefix, 1.0, -1)]
                elif factor > 1:
                    self._descend(prefix, factor, len(self.rounds))
                    self.rounds.append(turn)
                if factor:
                    seen, weighed = seen + self.units[-1].count, weighed + weight
            each = seen / weighed if weighed else 0.0
            self.unseen += [
                (prefix, weight * each) for (prefix, weight), factor in zip(waiting, factors, strict=True) if not factor
            ]
            waiting = below
            turn += 1
        sample = self._sample()
        others = self._others(sample)
        left_out = LeftOut()
        files = self._fields(sample, left_out)
        for kind, (count, size) in others.items():
            left_out.kinds[kind] = Tally(round(count.value), round(size))
            for unit in self.units:
                if kind in unit.left_out.kinds:
                    left_out.merge(LeftOut({kind: Tally(0, 0, unit.left_out.kinds[kind].examples)}))
        by_content = left_out.kinds.pop(BY_CONTENT, Tally())
        return TreeSample(
            sample,
            [unit.prefix for unit in self.units],
            self.unseen,
            left_out,
            {kind: count for kind, (count, _) in others.items()} | ({FIELD_FILES: files} if files.value else {}),
            by_content,
        )

    def _fields(self, sample: FileSample, left_out: LeftOut) -> EstimatedValue:
        """Estimate the files that are fields of images, write them into left_out, and return their number."""

        def total(counts: list[int]) -> EstimatedValue:
            return total_of_units(sample, np.array(counts, float))

        units = [unit.left_out for unit in self.units]
        files = total([unit.field_files for unit in units])
        left_out.field_files = round(files.value)
        left_out.field_bytes = round(total([unit.field_bytes for unit in units]).value)
        for suffix in {suffix for unit in units for suffix in unit.suffixes}:
            left_out.suffixes[suffix] = round(total([unit.suffixes.get(suffix, 0) for unit in units]).value)
        return files

    def _others(self, sample: FileSample) -> dict[str, tuple[EstimatedValue, float]]:
        """Estimate how many files of each kind are left out, and their bytes."""
        found = {}
        for kind in sorted({kind for unit in self.units for kind in unit.left_out.kinds}):
            tallies = [unit.left_out.kinds.get(kind, Tally()) for unit in self.units]
            counts, sizes = (np.array([getattr(tally, name) for tally in tallies], float) for name in ("count", "size"))
            found[kind] = total_of_units(sample, counts), float((sizes * sample.factor).sum())
        return found

    def _frontier(self) -> list[tuple[bytes, float]]:
        """List the directories that contain directories. Return the others, with their likely contents."""
        queue: deque[tuple[bytes, float, bool]] = deque([(b"", 1.0, False)])
        leaves: list[tuple[bytes, float]] = []
        while queue and len(self.units) < _MAX_LISTED and len(queue) + len(leaves) < _MAX_SEEN:
            prefix, weight, leaf = queue.popleft()
            if leaf:
                leaves.append((prefix, weight))
            else:
                queue.extend(self._list(prefix, 1.0, -1))
        return leaves + [(prefix, weight) for prefix, weight, _ in queue]

    def _list(self, prefix: bytes, factor: float, draw: int) -> list[tuple[bytes, float, bool]]:
        """List a directory and add its images as a unit. Return the directories in it."""
        found = self.tree.look_into(prefix, self.files, self.random)
        self.units.append(_Unit(prefix, found.count, found.images, found.sizes, factor, draw, found.left_out))
        return [(prefix + name + b"/", weight, leaf) for name, weight, leaf in found.folders]

    def _descend(self, prefix: bytes, factor: float, draw: int) -> None:
        for _ in range(_DEEPEST):
            folders = self._list(prefix, factor, draw)
            if not folders:
                return
            prefix = folders[int(self.random.integers(len(folders)))][0]
            factor *= len(folders)
        self.units[-1].left_out.add(LOOP, prefix)

    def _sample(self) -> FileSample:
        """Draw files in the listed directories so that each represents about as many, and look up their sizes."""
        population = np.array([unit.count for unit in self.units], np.int64)
        factor = np.array([unit.factor for unit in self.units])
        rate = self.files / max(float((population * factor).sum()), 1.0)
        take = np.maximum(np.rint(rate * population * factor), 2)
        take = np.minimum(take, [len(unit.names) for unit in self.units]).astype(np.int64)
        keys: list[bytes] = []
        known: list[int] = []
        for unit, count in zip(self.units, take.tolist(), strict=True):
            chosen = np.sort(self.random.choice(len(unit.names), count, replace=False)).tolist() if count else []
            keys += [unit.prefix + unit.names[index] for index in chosen]
            if unit.sizes is not None:
                known += [unit.sizes[index] for index in chosen]
        size = np.array(known, np.int64) if len(known) == len(keys) else self.tree.sizes(keys)
        number = np.repeat(np.arange(len(take)), take)
        for index in np.flatnonzero(size < 0).tolist():
            self.units[number[index]].left_out.add(MISSING, keys[index], reason="it vanished during the walk")
        there = size >= 0
        return FileSample(
            population=population,
            factor=factor,
            draw=np.array([unit.draw for unit in self.units], np.int64),
            turn=np.array(self.rounds, np.int64),
            key=[key for key, kept in zip(keys, there.tolist(), strict=True) if kept],
            size=size[there],
            unit=number[there],
        )
