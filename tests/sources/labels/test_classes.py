"""Numbers of classes: the source's own where it has some, else counted in the order of names."""

from __future__ import annotations

import pytest

from tiering.errors import DatasetError
from tiering.sources.labels.classes import ClassMap, classes_of


@pytest.mark.parametrize(
    ("said", "names", "numbers"),
    [
        (["5", "1", "2"], ("1", "2", "5"), (1, 2, 5)),
        (["10", "9", "-1"], ("9", "10"), (9, 10)),
        (["007", "8"], ("007", "8"), (7, 8)),
        (["7", "007"], ("7",), (7,)),
        (["1.0", "5.0", "nan"], ("1", "5"), (1, 5)),
        (["dog", "cat", "Ant"], ("Ant", "cat", "dog"), (0, 1, 2)),
        (["1", "b"], ("1", "b"), (0, 1)),
        ([], (), ()),
    ],
)
def test_integers_keep_their_values_and_names_are_sorted(said, names, numbers):
    classes, known = classes_of(said, "here")
    assert (classes.names, classes.numbers) == (names, numbers)
    assert set(known.values()) - {-1} == set(numbers)


@pytest.mark.parametrize("said", [["cat", "0.5"], ["1", "unknown", "2.5"], ["cat", "nan"], ["x", "1e-3"]])
def test_measurements_and_nan_beside_names_are_refused(said):
    with pytest.raises(DatasetError, match="beside"):
        classes_of(said, "t.csv")
    assert classes_of(["cat", "3", "1.0", "1x"], "t.csv")[0].names == ("1.0", "1x", "3", "cat")


@pytest.mark.parametrize("said", [["0.25", "10.5"], ["1", "2.5"], ["1e-3"], ["0.5"]])
def test_measurements_are_no_classes(said):
    with pytest.raises(DatasetError, match=r"measurements as labels, such as .*`columns` image=path,value=label"):
        classes_of(said, "here")


@pytest.mark.parametrize("said", [["-2", "1"], ["2147483648"], ["123456789012345678901234567890"]])
def test_numbers_that_no_loader_serves_are_refused(said):
    with pytest.raises(DatasetError, match="from 0 to 2,147,483,647"):
        classes_of(said, "here")


def test_a_map_takes_names_or_numbers():
    animals = ClassMap.counted(["cat", "dog", "eel"])
    assert animals.takes(["eel", "cat"], "here") == {"eel": 2, "cat": 0}
    assert animals.takes(["2", "0", "-1"], "here") == {"2": 2, "0": 0, "-1": -1}
    with pytest.raises(DatasetError, match="2 that it lacks: ape, bee"):
        animals.takes(["cat", "bee", "ape"], "here")
    with pytest.raises(DatasetError, match="1 that it lacks: 7"):
        animals.takes(["0", "7"], "here")


def test_folders_that_are_numbers_are_taken_by_name():
    counted = ClassMap.counted(["0", "1", "10", "2"])
    assert counted.takes(["10", "2"], "here") == {"10": 2, "2": 3}
    own = ClassMap(("1", "5"), (1, 5))
    assert own.takes(["5", "1.0"], "here") == {"5": 5, "1.0": 1}


def test_a_map_grows_at_its_end():
    animals = ClassMap(("cat", "dog"), (0, 4))
    grown, known = animals.grown(["bee", "ape", "cat"], "here")
    assert (grown.names, grown.numbers) == (("cat", "dog", "ape", "bee"), (0, 4, 5, 6))
    assert known == {"cat": 0, "ape": 5, "bee": 6}
    assert animals.grown(["dog"], "here")[0] is animals
    with pytest.raises(DatasetError, match="other numbers: 7"):
        animals.grown(["7"], "here")


def test_a_map_of_integers_grows_by_values():
    own = ClassMap(("1", "5"), (1, 5))
    grown, known = own.grown(["3", "5"], "here")
    assert (grown.names, grown.numbers, known) == (("1", "3", "5"), (1, 3, 5), {"3": 3, "5": 5})
    assert own.grown(["cat"], "here")[0] == ClassMap(("1", "5", "cat"), (1, 5, 6))
