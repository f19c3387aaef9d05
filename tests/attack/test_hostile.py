"""Stores and caches of an enemy: every operation gives a named error or right data, and touches nothing else."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from tests.attack.bases import make
from tests.attack.cases import every
from tests.attack.pool import run


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    made = tmp_path_factory.mktemp("attack")
    make(made)
    return made


def assert_harmless(results, least):
    ran = [result for result in results if not result.skipped]
    wrong = [f"{result.case.name[:200]} | {failure}" for result in ran for failure in result.failures]
    assert wrong == []
    assert len(ran) >= least
    assert all(len(result.outcomes) == (5 if result.case.base == "cache" else 7) for result in ran)
    # The attacks are felt: most are refused, and those that change nothing that matters are served.
    outcomes = Counter(outcome for result in ran for outcome in result.outcomes.values())
    assert min(outcomes["ok"], sum(outcomes.values()) - outcomes["ok"]) > len(ran) // 2


def some(cases):
    """One case of every fourth kind and attack."""
    found = {}
    for case in cases:
        attack = str(int(case.attack) % 4) if case.kind == "lie" else case.attack
        found.setdefault((case.kind, attack), []).append(case)
    dice = random.Random(17)
    return [dice.choice(those) for those in list(found.values())[::4]]


def test_some_attacks_of_every_kind_end_in_a_named_error_or_right_data(root):
    assert_harmless(run(root, some(every(root)), workers=1), least=12)


@pytest.mark.slow
def test_every_attack_on_every_field_ends_in_a_named_error_or_right_data(root):
    assert_harmless(run(root, every(root)), least=2000)
