from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehrfm_core.clif.event_map import Filter
from ehrfm_core.clif.files import TableFiles
from ehrfm_core.clif.outcome_file import OwnOutcome
from ehrfm_core.clif.own_outcomes import add_own_outcomes, outcome_tables
from ehrfm_core.clif.tables import ClifDirectory
from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import with_own

ID = "hospitalization_id"
BEGIN = datetime(2020, 1, 1, tzinfo=UTC)
POTASSIUM = OwnOutcome(
    "high_k",
    "High potassium",
    "…",
    "labs",
    ("lab_result_dttm",),
    where=(Filter("lab_value_numeric", "at_least", 6.0),),
    among=(Filter("lab_category", "equals", "Potassium"),),
)
ANY_LAB = OwnOutcome(
    "lab", "Any lab", "…", "labs", ("lab_result_dttm",), (Filter("lab_category", "one_of", ["potassium"]),)
)
LISTED = OwnOutcome("sepsis", "Sepsis", "…", file="outcomes")


def stays(n: int = 5, hours: float = 100) -> pl.DataFrame:
    """Stays a, b, … of which each begins a year after the one before."""
    start = [BEGIN + timedelta(days=365 * i) for i in range(n)]
    end = [time + timedelta(hours=hours) for time in start]
    schema = {ID: pl.String(), "start": pl.Datetime("us", "UTC"), "end": pl.Datetime("us", "UTC")}
    frame = pl.DataFrame({ID: list("abcdefgh"[:n]), "start": start, "end": end}, schema=schema)
    return frame.with_columns(pl.lit(hours).alias("los_hours"))


def at(stay: str, hours: float) -> datetime:
    return BEGIN + timedelta(days=365 * "abcdefgh".index(stay), hours=hours)


def labs(folder: Path, rows: list[tuple[str, float, str, float | None]]) -> ClifDirectory:
    frame = pl.DataFrame(
        [(stay, at(stay, hours), name, value) for stay, hours, name, value in rows],
        schema={
            ID: pl.String(),
            "lab_result_dttm": pl.Datetime("us", "UTC"),
            "lab_category": pl.String(),
            "lab_value_numeric": pl.Float64(),
        },
        orient="row",
    )
    path = folder / "clif_labs.parquet"
    frame.write_parquet(path)
    return ClifDirectory(folder, {"labs": TableFiles("labs", path, (path,))}, {"labs": dict(frame.schema)})


def listed(folder: Path, text: str) -> dict[str, TableFiles]:
    (folder / "outcomes.csv").write_text(text, encoding="utf-8")
    return outcome_tables(folder, [LISTED])


def labels(
    directory: ClifDirectory | None,
    own: OwnOutcome,
    tables: dict[str, TableFiles] | None = None,
    *,
    window: float = 24,
    n: int = 5,
) -> tuple[dict[str, tuple[bool | None, bool | None]], list[str]]:
    frame, notes = add_own_outcomes(stays(n), directory, tables or {}, [own], window_hours=window)
    columns = (ID, own.name, f"{own.name}_24h")
    return {row[0]: row[1:] for row in frame.select(columns).iter_rows()}, notes


def test_events_before_and_after_the_window_and_stays_that_cannot_tell(tmp_path: Path) -> None:
    rows = [
        ("a", 30.0, "potassium", 6.0),  # after the window
        ("a", 50.0, "potassium", 7.0),
        ("b", 24.0, "Potassium", 6.5),  # at its very end: within
        ("b", 60.0, "potassium", 6.5),
        ("c", 30.0, "potassium", 5.9),  # looked for, and not there
        ("c", 30.0, "sodium", 140.0),
        ("d", 30.0, "sodium", 140.0),  # never looked for
        ("e", 101.0, "potassium", 9.0),  # after the stay
        ("e", -25.0, "potassium", 9.0),  # more than a day before it
    ]
    found, notes = labels(labs(tmp_path, rows), POTASSIUM)
    assert found == {
        "a": (True, False),
        "b": (True, True),
        "c": (False, False),
        "d": (None, None),
        "e": (None, None),
    }
    assert notes == [
        "High potassium: 1 of the 2 stays that count have the event; 1 had it in the window, 2 are not known."
    ]
    counts = add_own_outcomes(stays(), labs(tmp_path, rows), {}, [POTASSIUM], window_hours=24)[0].select(
        with_own([POTASSIUM.to_json()])["high_k"].counts()
    )
    assert counts.to_series().to_list() == [True, False, True, False, False]


def test_the_window_may_have_any_length(tmp_path: Path) -> None:
    directory = labs(tmp_path, [("a", 30.0, "potassium", 6.0)])
    assert labels(directory, POTASSIUM, window=29.9)[0]["a"] == (True, False)
    assert labels(directory, POTASSIUM, window=30)[0]["a"] == (True, True)


def test_without_among_no_row_is_no_event(tmp_path: Path) -> None:
    found, _ = labels(labs(tmp_path, [("a", 30.0, "potassium", 4.0), ("b", 1.0, "sodium", 4.0)]), ANY_LAB)
    assert found == {"a": (True, False)} | dict.fromkeys("bcde", (False, False))


def test_values_that_are_no_numbers_are_no_event(tmp_path: Path) -> None:
    rows = [("a", 30.0, "potassium", float("nan")), ("b", 30.0, "potassium", None)]
    rows += [("c", 30.0, "potassium", float("inf"))]
    found, _ = labels(labs(tmp_path, rows), POTASSIUM)
    assert found["a"] == found["b"] == found["c"] == (False, False)


@pytest.mark.parametrize("table", [None, "other", "empty", "column"])
def test_a_site_that_cannot_tell_has_nulls_and_says_why(tmp_path: Path, table: str | None) -> None:
    directory = None if table is None else labs(tmp_path, [] if table == "empty" else [("a", 1.0, "x", 1.0)])
    if directory and table == "other":
        directory.tables.clear()
    if directory and table == "column":
        del directory.schemas["labs"]["lab_value_numeric"]
    found, notes = labels(directory, POTASSIUM)
    assert set(found.values()) == {(None, None)}
    assert len(notes) == 1
    assert notes[0].endswith("no stay can tell “High potassium”.")


def test_a_table_of_outcomes(tmp_path: Path) -> None:
    text = f"{ID},outcome,event_time\n"
    text += f"a,sepsis,{at('a', 48).isoformat()}\nb,Sepsis,{at('b', 3).isoformat()}\nc,sepsis,\n"
    text += f"d,other,{at('d', 48).isoformat()}\nz,sepsis,{at('a', 48).isoformat()}\n"
    tables = listed(tmp_path, text)
    found, notes = labels(None, LISTED, tables)
    assert found == {
        "a": (True, False),
        "b": (True, True),
        "c": (False, False),
        "d": (None, None),
        "e": (None, None),
    }
    assert notes[0].startswith("outcomes.csv: 1 of 4 rows of sepsis are of stays that are not in the study")
    unlisted = OwnOutcome("sepsis", "Sepsis", "…", file="outcomes", unlisted="no")
    assert labels(None, unlisted, tables)[0] == found | dict.fromkeys("de", (False, False))


def test_an_event_after_discharge_counts_where_a_table_says_so(tmp_path: Path) -> None:
    tables = listed(tmp_path, f"{ID},outcome,event_time\na,sepsis,{at('a', 900).isoformat()}\nb,sepsis,\n")
    assert labels(None, LISTED, tables)[0]["a"] == (True, False)


def test_an_event_without_a_time_is_taken_to_lie_in_the_window(tmp_path: Path) -> None:
    text = f"{ID},outcome,event_time,happened\na,sepsis,,true\nb,sepsis,,false\n"
    text += f"c,sepsis,{at('c', 40).isoformat()},\n"
    found, notes = labels(None, LISTED, listed(tmp_path, text))
    assert found["a"] == (True, True)
    assert found["b"] == (False, False)
    assert found["c"] == (True, False)
    assert "1 events of sepsis have no event_time" in notes[0]


def test_only_events_are_listed(tmp_path: Path) -> None:
    tables = listed(tmp_path, f"{ID},outcome,event_time\na,sepsis,{at('a', 48).isoformat()}\n")
    _, notes = labels(None, LISTED, tables)
    assert "where stays without a row had none, say `unlisted: no`" in notes[-1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{ID},outcome\na,sepsis\n", "column 'event_time' is missing"),
        (f"{ID},outcome,event_time\na,sepsis,\na,sepsis,\n", "1 rows repeat a hospitalization_id for sepsis"),
        (f"{ID},outcome,event_time\na,sepsis,2020-01-02 10:00\n", "is a time with its zone"),
        (
            f"{ID},outcome,event_time\na,sepsis,soon\nb,sepsis,2020-01-03T00:00:00Z\n",
            "1 of 2 rows of sepsis have an event_time that is no time",
        ),
        (f"{ID},outcome,event_time\nz,sepsis,\n", "none of 1 values of 'hospitalization_id' for sepsis"),
        (f"{ID},outcome,event_time,happened\na,sepsis,,perhaps\n", "'happened' are neither true nor false"),
    ],
)
def test_a_table_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    tables = listed(tmp_path, text)
    with pytest.raises(UserError, match=said) as error:
        labels(None, LISTED, tables)
    assert str(tmp_path / "outcomes.csv") in str(error.value)


def test_a_table_that_is_missing_twice_or_without_the_outcome(tmp_path: Path) -> None:
    assert "no outcomes.parquet or .csv in its folder" in labels(None, LISTED)[1][0]
    tables = listed(tmp_path, f"{ID},outcome,event_time\na,other,\n")
    assert labels(None, LISTED, tables)[1] == [
        "outcomes.csv has no row of sepsis: no stay can tell “Sepsis”."
    ]
    pl.DataFrame({ID: ["a"]}).write_parquet(tmp_path / "outcomes.parquet")
    with pytest.raises(UserError, match=r"holds outcomes.parquet and outcomes.csv; leave one"):
        outcome_tables(tmp_path, [LISTED])


event = st.tuples(st.sampled_from("abc"), st.integers(-40, 140), st.sampled_from([4.0, 6.0, 7.5]))


@settings(max_examples=40, deadline=None)
@given(st.lists(event, max_size=20), st.integers(1, 90))
def test_a_stay_counts_only_without_an_event_in_the_window(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, float]], window: int
) -> None:
    """Against one row at a time in Python: what counts never has had the event when the model reads."""
    folder = tmp_path_factory.mktemp("labs")
    directory = labs(folder, [(s, float(h), "potassium", v) for s, h, v in events])
    found, _ = labels(directory, POTASSIUM, window=window, n=3)
    for stay in "abc":
        near = [(h, v) for s, h, v in events if s == stay and -24 <= h <= 100]
        high = [h for h, v in near if v >= 6]
        expected = (bool(high), bool(high) and min(high) <= window) if near else (None, None)
        assert found[stay] == expected


def test_of_a_stay_that_has_not_ended_the_window_alone_is_known(tmp_path: Path) -> None:
    rows = [("a", 5.0, "potassium", 7.0), ("b", 40.0, "potassium", 7.0), ("c", 5.0, "potassium", 4.0)]
    directory = labs(tmp_path, rows)
    open_ended = stays(3).with_columns(pl.lit(None, dtype=pl.Float64).alias("los_hours"))
    frame, _ = add_own_outcomes(open_ended, directory, {}, [POTASSIUM], window_hours=24)
    assert frame["high_k"].to_list() == [True, None, None]
    listed_table = listed(
        tmp_path, f"hospitalization_id,outcome,event_time\na,sepsis,{at('a', 40)}\nb,sepsis,\n"
    )
    frame, _ = add_own_outcomes(open_ended, None, listed_table, [LISTED], window_hours=24)
    assert frame["sepsis"].to_list() == [True, False, None]
