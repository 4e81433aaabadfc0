from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from ehrfm_core.clif.event_map import FILTERS, MAPS, SHIPPED, EventMap, EventSource, Filter, load_map
from ehrfm_core.errors import UserError
from tests.make_clif import ID, make_all_tables, make_tables
from tests.make_site import read, tokenize

DISCHARGE = {"family": "discharge", "table": "hospitalization", "column": "discharge_category"}
LAB = {"table": "labs", "family": "lab", "code": "lab_category", "time": "lab_result_dttm"}


def write_map(folder: Path, *entries: Any, static: Any = None, **top: Any) -> str:
    value = {"format": 1, "static": static or {"suffix": [DISCHARGE]}, "events": list(entries)} | top
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(value))
    return str(path)


def source(folder: Path, **entry: Any) -> EventSource:
    return load_map(write_map(folder, LAB | entry)).sources[0]


def refused(path: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        load_map(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(path), "the file is named"
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_maps_that_ship_load_and_survive_json(name: str) -> None:
    event_map = load_map(name)
    assert EventMap.from_json(event_map.to_json()) == event_map
    assert event_map.name == name
    assert [item.family for item in event_map.prefix] == ["race", "ethnicity", "sex", "age", "admission"]


def test_the_paper_reads_the_tables_of_the_paper_and_all_reads_more() -> None:
    paper, everything = set(load_map("paper").tables), set(load_map("all").tables)
    assert paper == {
        *("adt", "labs", "vitals", "medication_admin_continuous", "patient_assessments"),
        *("respiratory_support", "position"),
    }
    assert everything - paper == {"code_status", "crrt_therapy", "medication_admin_intermittent"}


def test_every_key_is_read(tmp_path: Path) -> None:
    found = source(
        tmp_path,
        time=["a_dttm", "b_dttm"],
        value="v",
        unit="u",
        answer="a",
        detail=["d", "e"],
        key="patient_id",
        often_empty=True,
        where=[{"column": "w", "one_of": ["x"]}],
    )
    assert found == EventSource(
        table="labs",
        family="lab",
        times=("a_dttm", "b_dttm"),
        code="lab_category",
        value="v",
        unit="u",
        answer="a",
        detail=("d", "e"),
        where=(Filter("w", "one_of", ["x"]),),
        key="patient_id",
        often_empty=True,
    )
    assert found.columns == ("patient_id", "a_dttm", "b_dttm", "lab_category", "a", "d", "e", "v", "u", "w")
    assert found.required == ("patient_id", "lab_category", "v")
    assert EventMap.from_json(load_map(str(tmp_path / "mine.yaml")).to_json()).sources[0] == found


def test_every_key_is_explained_in_the_map_to_copy() -> None:
    text = (MAPS / "all.yaml").read_text()
    keys = set(EventSource.__dataclass_fields__) - {"times"} | {"time"}
    assert all(f"#   {key} " in text for key in keys)
    assert all(kind in text for kind in FILTERS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "entry 1 of events has a key 'colour'; known keys are answer, code, detail"),
        ({"times": ["x"]}, "entry 1 of events has a key 'times'"),
        ({"time": None}, "entry 1 of events lacks `time`"),
        ({"time": []}, "entry 1 of events lacks `time`"),
        ({"time": [1]}, "entry 1 of events: `time` must be a column or a list of columns"),
        ({"table": 5}, "entry 1 of events: `table` must be text, not 5"),
        ({"code": ""}, "entry 1 of events: `code` must be text, not ''"),
        ({"name": "x"}, "entry 1 of events needs either `code` (a column) or `name`"),
        ({"family": "Lab"}, "'Lab' cannot be a family; use lower-case letters and _"),
        ({"family": "time"}, "'time' cannot be a family"),
        ({"family": "answer"}, "'answer' cannot be a family"),
        ({"family": "special"}, "'special' cannot be a family"),
        ({"family": "lab/x"}, "'lab/x' cannot be a family"),
        ({"family": "discharge"}, "the static family 'discharge' is used twice"),
        ({"key": "visit_id"}, "`key` must be hospitalization_id or patient_id, not 'visit_id'"),
        ({"unit": "u"}, "entry 1 of events: `unit` needs a `value`"),
        ({"often_empty": "yes"}, "`often_empty` must be true or false"),
        ({"detail": [3]}, "`detail` must be a column or a list of columns"),
        ({"where": {"column": "x"}}, "a filter is `column` and one of equals, one_of, none_of"),
        ({"where": {"column": "x", "like": "y"}}, "a filter is `column` and one of"),
        ({"where": {"column": "x", "equals": "y", "present": True}}, "a filter is `column` and one of"),
        ({"where": {"equals": "y"}}, "a filter is `column` and one of"),
        ({"where": "x > 3"}, "a filter is `column` and one of"),
        ({"where": {"column": "x", "equals": 5}}, "the filter equals cannot be compared with 5"),
        ({"where": {"column": "x", "one_of": "a"}}, "the filter one_of cannot be compared with 'a'"),
        ({"where": {"column": "x", "none_of": [True]}}, "the filter none_of cannot be compared with [True]"),
        ({"where": {"column": "x", "at_least": "1"}}, "the filter at_least cannot be compared with '1'"),
        ({"where": {"column": "x", "at_most": True}}, "the filter at_most cannot be compared with True"),
        ({"where": {"column": "x", "present": "yes"}}, "the filter present cannot be compared with 'yes'"),
    ],
)
def test_an_entry_that_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    refused(write_map(tmp_path, LAB | change), message)


def test_the_entry_is_counted(tmp_path: Path) -> None:
    refused(write_map(tmp_path, LAB, LAB, LAB | {"colour": 1}), "entry 3 of events has a key 'colour'")


@pytest.mark.parametrize("lost", ["table", "family"])
def test_an_entry_without_table_or_family(tmp_path: Path, lost: str) -> None:
    entry = {key: value for key, value in LAB.items() if key != lost}
    refused(write_map(tmp_path, entry), "entry 1 of events lacks `table` or `family`")


def test_an_entry_with_neither_code_nor_name(tmp_path: Path) -> None:
    entry = {key: value for key, value in LAB.items() if key != "code"}
    refused(write_map(tmp_path, entry), "needs either `code` (a column) or `name`")
    refused(
        write_map(tmp_path, entry | {"name": "any"}), "give a `value` or a `where`, or every row would be"
    )


@pytest.mark.parametrize("entry", ["labs", 5, ["a"]])
def test_an_entry_that_is_no_mapping(tmp_path: Path, entry: Any) -> None:
    refused(write_map(tmp_path, entry), "entry 1 of events is not a mapping")


@pytest.mark.parametrize(
    ("static", "message"),
    [
        ({"suffix": []}, "static `suffix` holds exactly one entry, of the family discharge"),
        ({"suffix": [DISCHARGE, DISCHARGE]}, "static `suffix` holds exactly one entry"),
        ({"suffix": [DISCHARGE | {"family": "end"}]}, "static `suffix` holds exactly one entry"),
        ({"other": []}, "`static` holds `prefix` and `suffix`"),
        ({"suffix": [{"family": "discharge"}]}, "entry 1 of static suffix needs exactly"),
        (
            {"suffix": [DISCHARGE], "prefix": [DISCHARGE | {"column": "admission_type_category"}]},
            "the static family 'discharge' is used twice",
        ),
        (
            {"suffix": [DISCHARGE], "prefix": [DISCHARGE | {"family": "x", "table": "labs"}]},
            "entry 1 of static prefix: `table` must be patient or hospitalization, not 'labs'",
        ),
        (
            {"suffix": [DISCHARGE], "prefix": [DISCHARGE | {"family": "X y"}]},
            "entry 1 of static prefix: 'X y' cannot be a family",
        ),
        ({"suffix": [DISCHARGE], "prefix": ["race"]}, "entry 1 of static prefix needs exactly"),
    ],
)
def test_static_fields_that_are_wrong_are_named(tmp_path: Path, static: Any, message: str) -> None:
    refused(write_map(tmp_path, LAB, static=static), message)


def test_a_prefix_that_is_no_list_is_named(tmp_path: Path) -> None:
    refused(write_map(tmp_path, LAB, static={"prefix": 5, "suffix": [DISCHARGE]}), "`static` holds `prefix`")


def test_one_column_will_do_as_detail(tmp_path: Path) -> None:
    assert source(tmp_path, detail="lab_order_category").detail == ("lab_order_category",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an event map holds `format: 1`, `static` and `events`, and nothing else"),
        ("format: 2\nstatic: {}\nevents: []", "an event map holds `format: 1`"),
        ("format: 1\nstatic: {}\nevents: []", "`events` must be a list with at least one entry"),
        ("format: 1\nstatic: []\nevents: [1]", "`static` holds `prefix` and `suffix`"),
        ("format: 1\nstatic: {}\nevents: [1]\nmore: 1", "and nothing else"),
        ("{a: [", "is not YAML: while parsing"),
        ("!!python/object/apply:os.mkdir [pwned]", "line 1: tags (tag:yaml.org,2002:python"),
        (
            "format: 1\nstatic: {}\nevents: [!!python/object:ehrfm_core.errors.UserError {}]",
            "line 3: tags (tag:yaml.org,2002:python",
        ),
    ],
)
def test_a_file_that_is_no_map_is_refused_and_no_code_runs(
    tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.yaml").write_text(text)
    refused(str(tmp_path / "m.yaml"), message)
    assert not (tmp_path / "pwned").exists()


def test_a_map_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="--events nowhere.yaml: No such file or directory; give paper or all"
    ):
        load_map("nowhere.yaml")
    (tmp_path / "m.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="m.yaml: not text; give paper or all"):
        load_map(str(tmp_path / "m.yaml"))


def test_a_copied_and_changed_map_works_from_table_to_token(tmp_path: Path) -> None:
    text = (MAPS / "paper.yaml").read_text()
    text = text.replace("family: vital,", "family: sign,").replace("{family: ethnicity,", "{family: people,")
    text += "\n  - {family: high, table: labs, name: any, time: lab_result_dttm, "
    text += "where: {column: lab_value_numeric, at_least: 6}}\n"
    (tmp_path / "mine.yaml").write_text(text)
    tables = make_tables()
    mine = tokenize(tables, tmp_path / "a", events=str(tmp_path / "mine.yaml"))
    paper = tokenize(tables, tmp_path / "b")
    assert {token for token in mine.tokenizer.vocabulary if token.startswith(("sign/", "people/"))} == {
        *("sign/heart_rate", "sign/sbp", "sign/spo2", "people/hispanic", "people/non_hispanic"),
    }
    assert not [token for token in mine.tokenizer.vocabulary if token.startswith(("vital/", "ethnicity/"))]
    places = dict(zip((i.code for i in mine.site.store.items), mine.site.store.n_by_item, strict=True))
    assert places["high/any"] == (tables["labs"]["lab_value_numeric"] >= 6).sum() > 0
    stay = mine.frame[ID][0]
    renamed = [name.replace("sign/", "vital/").replace("people/", "ethnicity/") for name in mine.names(stay)]
    assert [name for name in renamed if name != "high/any"] == paper.names(stay)


def codes(folder: Path, where: Any, *, table: pl.DataFrame | None = None, **entry: Any) -> dict[str, int]:
    """Events by code of the continuous medications under a filter."""
    tables = make_tables(patients=3)
    stay, begin = tables["hospitalization"].row(0)[1:3]
    actions = [" Stop", "stop", "Dose Change", "start", "", None]
    tables["medication_admin_continuous"] = pl.DataFrame(
        {
            ID: [stay] * 6,
            "admin_dttm": [begin] * 6,
            "med_category": list("abcdef"),
            "med_dose": [1.0, 2.0, 3.0, None, float("nan"), 0.0],
            "mar_action_category": actions,
            "flag": [True, False, None, True, False, None],
        }
    )
    own = {
        "table": "medication_admin_continuous",
        "family": "m",
        "code": "med_category",
        "time": "admin_dttm",
    }
    site = read(tables, folder / "site", events=write_map(folder, own | entry | {"where": where}))
    counted = zip(site.store.items, site.store.n_by_item, strict=True)
    return {item.code.removeprefix("m/"): int(n) for item, n in counted if n}


ACTION = "mar_action_category"


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ({"column": ACTION, "equals": "stop"}, "ab"),
        ({"column": ACTION, "equals": "Dose change"}, "c"),
        ({"column": ACTION, "one_of": ["stop", "dose_change"]}, "abc"),
        ({"column": ACTION, "none_of": ["STOP", "start"]}, "cef"),
        ({"column": ACTION, "present": True}, "abcd"),
        ({"column": ACTION, "present": False}, "ef"),
        ({"column": "med_dose", "at_least": 2}, "bc"),
        ({"column": "med_dose", "at_most": 1.0}, "af"),
        ({"column": "flag", "equals": True}, "ad"),
        ([{"column": ACTION, "equals": "stop"}, {"column": "med_dose", "at_least": 2}], "b"),
        ([], "abcdef"),
        ({"column": "not_there", "none_of": ["x"]}, "abcdef"),
        ({"column": "not_there", "present": False}, "abcdef"),
        ({"column": "not_there", "equals": "x"}, ""),
        ({"column": "not_there", "at_least": 0}, ""),
    ],
)
def test_every_kind_of_filter_keeps_its_rows(tmp_path: Path, where: Any, kept: str) -> None:
    assert "".join(sorted(codes(tmp_path, where))) == kept


def test_two_filters_on_one_column_must_both_hold(tmp_path: Path) -> None:
    where = [{"column": ACTION, "none_of": ["stop"]}, {"column": ACTION, "present": True}]
    assert "".join(sorted(codes(tmp_path, where))) == "cd"


def test_a_range_is_two_filters_on_one_number(tmp_path: Path) -> None:
    where = [{"column": "med_dose", "at_least": 1}, {"column": "med_dose", "at_most": 2}]
    assert "".join(sorted(codes(tmp_path, where))) == "ab"


@pytest.mark.parametrize("column", ["med_dose", "admin_dttm"])
def test_a_filter_may_ask_whether_a_value_or_time_is_present(tmp_path: Path, column: str) -> None:
    kept = codes(tmp_path, {"column": column, "present": True}, value="med_dose")
    assert set(kept) >= set("abcf")


def test_a_name_with_a_filter_counts_its_rows_as_one_code(tmp_path: Path) -> None:
    tables = make_all_tables(patients=3)
    site = read(tables, tmp_path, events="all")
    counted = dict(zip((i.code for i in site.store.items), site.store.n_by_item, strict=True))
    assert counted["respiratory/tracheostomy"] == tables["respiratory_support"]["tracheostomy"].sum() > 0


def test_how_a_stay_ends_cannot_stand_before_it(tmp_path: Path) -> None:
    leak = {"family": "ending", "table": "hospitalization", "column": "discharge_category"}
    path = write_map(tmp_path, LAB, static={"prefix": [leak], "suffix": [DISCHARGE]})
    refused(path, "'discharge_category' tells how the stay ends")
