from __future__ import annotations

from pathlib import Path

import pytest

from ehrfm_core.clif.outcome_file import OwnOutcome, load_outcomes
from ehrfm_core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def written(folder: Path, entry: str) -> Path:
    path = folder / "own.yaml"
    path.write_text(f"format: 1\noutcomes:\n  - {entry}\n", encoding="utf-8")
    return path


def test_the_file_that_ships_is_read_and_survives_json() -> None:
    found = load_outcomes(ROOT / "data_samples/outcomes.yaml")
    assert [own.name for own in found] == ["vasopressor", "hyperkalaemia", "sepsis"]
    assert found[1].times == ("lab_result_dttm", "lab_collect_dttm")
    assert "lab_value_numeric at least 5.5" in found[1].definition
    assert [OwnOutcome.from_json(own.to_json()) for own in found] == list(found)


EVENT = "table: labs, time: t, where: {column: c, equals: x}"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (f"{{label: X, {EVENT}}}", "needs a `name`"),
        (f"{{name: x, {EVENT}}}", "needs a `label`"),
        (f"{{name: death, label: X, {EVENT}}}", "'death' cannot be a name"),
        (f"{{name: x_24h, label: X, {EVENT}}}", "'x_24h' cannot be a name"),
        (f"{{name: 'a/b', label: X, {EVENT}}}", "'a/b' cannot be a name"),
        (f"{{name: x, label: '<b>', {EVENT}}}", "leave out the '<'"),
        (f"{{name: x, label: X, definition: 3, {EVENT}}}", "`definition` must be text"),
        (f"{{name: x, label: X, file: y, {EVENT}}}", "either `table`"),
        ("{name: x, label: X}", "either `table`"),
        ("{name: x, label: X, file: ../other}", "`file` must be the name of a file in the site's folder"),
        ("{name: x, label: X, file: y, unlisted: maybe}", "must be unknown or no"),
        ("{name: x, label: X, file: y, time: t}", "`time` goes with `table`"),
        ("{name: x, label: X, table: labs, where: {column: c, equals: x}}", "lacks `time`"),
        ("{name: x, label: X, table: labs, time: t}", "lacks `where`"),
        ("{name: x, label: X, table: labs, time: t, where: []}", "every row of labs would be the event"),
        ("{name: x, label: X, table: labs, time: t, where: {column: c, above: 1}}", "a filter is `column`"),
        (f"{{name: x, label: X, unlisted: no, {EVENT}}}", "`unlisted` goes with `file`"),
        (f"{{name: x, label: X, when: now, {EVENT}}}", "has a key 'when'"),
        ("just text", "is not a mapping"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_file_and_the_entry(
    tmp_path: Path, entry: str, said: str
) -> None:
    path = written(tmp_path, entry)
    with pytest.raises(UserError) as error:
        load_outcomes(path)
    assert said in str(error.value)
    assert f"{path}: entry 1 of outcomes" in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is not YAML"),
        ("format: 2\noutcomes: []", "holds `format: 1` and `outcomes`"),
        ("format: 1\noutcomes: []", "at least one entry"),
        (
            "format: 1\noutcomes:\n  - {name: x, label: X, file: a}\n  - {name: x, label: Y, file: a}",
            "two outcomes are called 'x'",
        ),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        load_outcomes(path)
    with pytest.raises(UserError, match="give the path of a YAML file"):
        load_outcomes(tmp_path / "nowhere.yaml")


def test_a_bare_no_of_yaml_is_no(tmp_path: Path) -> None:
    assert load_outcomes(written(tmp_path, "{name: x, label: X, file: a, unlisted: no}"))[0].unlisted == "no"
