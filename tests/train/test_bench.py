from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from ehrfm_core.clif.event_map import EventSource, Filter, load_map
from ehrfm_core.errors import UserError
from tests.make_clif import make_tables, write_tables
from train.bench import arguments, cocoa, process, tokenizer
from train.bench.process import Finished
from train.bench.replicate import replicate

ID = "hospitalization_id"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return write_tables(make_tables(), tmp_path / "clif")


def columns_of(entry: dict[str, Any]) -> set[str]:
    """Columns that an entry of cocoa names, those inside of expressions included."""
    expressions = entry.get("filter_expr", [])
    inside = {text.split("'")[1] for text in expressions}
    named = {entry[key] for key in ("code", "time", "numeric_value", "text_value") if key in entry}
    return (named | inside) - ({"code"} if "with_col_expr" in entry else set())


# cocoa's configuration


@pytest.mark.parametrize("name", ["paper", "all"])
def test_cocoa_is_told_every_source_and_only_columns_that_are_there(name: str, demo: Path) -> None:
    event_map = load_map(name)
    entries = cocoa.collation(event_map, demo)["entries"]
    expected = {(f"clif_{source.table}", source.family.upper()) for source in event_map.sources}
    static = {("REFERENCE", item.family.upper()) for item in (*event_map.prefix, *event_map.suffix)}
    assert {(entry["table"], entry["prefix"]) for entry in entries} == expected | static
    answers = sum(source.answer is not None for source in event_map.sources)
    assert len(entries) == len(event_map.sources) + len(static) + answers
    for entry in entries:
        tables = ["patient", "hospitalization"] if entry["table"] == "REFERENCE" else [entry["table"][5:]]
        schemas = [pl.read_parquet_schema(demo / f"clif_{table}.parquet") for table in tables]
        assert columns_of(entry) <= {column for schema in schemas for column in schema}
    ordering = cocoa.tokenization(event_map)["ordering"]
    assert set(ordering) == {entry["prefix"] for entry in entries} | {"BOS", "EOS"}
    assert len(ordering) == len(set(ordering))


@pytest.mark.parametrize("name", ["paper", "all"])
def test_every_expression_for_cocoa_can_be_evaluated_on_its_table(name: str, demo: Path) -> None:
    for entry in cocoa.collation(load_map(name), demo)["entries"]:
        if entry["table"] == "REFERENCE":
            continue
        frame = pl.scan_parquet(demo / f"{entry['table']}.parquet")
        for text in entry.get("filter_expr", []):
            frame = frame.filter(eval(text, {"pl": pl}))  # noqa: S307  # what cocoa does with it
        if "with_col_expr" in entry:
            frame = frame.with_columns(eval(entry["with_col_expr"], {"pl": pl}))  # noqa: S307
        assert frame.select(entry["code"], entry["time"]).collect().width == 2


def test_values_and_answers_divide_the_rows_between_them(demo: Path) -> None:
    entries = cocoa.collation(load_map("paper"), demo)["entries"]
    numeric, answers = (entry for entry in entries if entry["prefix"] == "ASSESSMENT")
    table = pl.read_parquet(demo / "clif_patient_assessments.parquet")
    picked = [table.filter(eval(entry["filter_expr"][-1], {"pl": pl})) for entry in (numeric, answers)]  # noqa: S307
    assert sum(part.height for part in picked) == table.height
    assert picked[0]["numerical_value"].null_count() == 0
    assert picked[1]["numerical_value"].null_count() == picked[1].height


def test_sources_that_the_tables_do_not_carry_are_left_out(site: Path) -> None:
    entries = cocoa.collation(load_map("all"), site)["entries"]
    families = {entry["prefix"] for entry in entries}
    assert "VITAL" in families
    assert not families & {"CRRT", "DOSE", "LOCATION_OUT", "LAB_ORDER"}


def test_the_first_time_that_is_filled_is_taken(tmp_path: Path) -> None:
    tables = make_tables()
    tables["labs"] = tables["labs"].rename({"lab_result_dttm": "lab_collect_dttm"})
    nothing = pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    tables["labs"] = tables["labs"].with_columns(nothing.alias("lab_result_dttm"))
    folder = write_tables(tables, tmp_path / "clif")
    entries = cocoa.collation(load_map("paper"), folder)["entries"]
    assert [entry["time"] for entry in entries if entry["prefix"] == "LAB"] == ["lab_collect_dttm"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (Filter("c", "equals", "not_given"), [1]),
        (Filter("c", "one_of", ["stop", "start"]), [0, 2]),
        (Filter("c", "none_of", ["stop"]), [1, 2, 3]),
        (Filter("c", "present", True), [0, 1, 2]),
        (Filter("c", "present", False), [3]),
        (Filter("n", "at_least", 1), [0, 1]),
        (Filter("n", "at_most", 1), [1, 2]),
        (Filter("b", "equals", True), [0]),
    ],
)
def test_filters_mean_for_cocoa_what_they_mean_for_us(
    condition: Filter, expected: list[int], tmp_path: Path
) -> None:
    frame = pl.DataFrame(
        {
            "row": [0, 1, 2, 3],
            "c": ["Stop", "Not Given", "START", None],
            "n": [2, 1, 0, None],
            "b": [True, False, None, False],
        }
    )
    source = EventSource("labs", "lab", ("t",), code="c", where=(condition,))
    table = frame.with_columns(hospitalization_id=pl.lit("a"), t=pl.lit(0))
    table.write_parquet(tmp_path / "clif_labs.parquet")
    [entry] = cocoa._source_entries(source, cocoa.find_tables(tmp_path))
    kept = frame.filter(eval(entry["filter_expr"][0], {"pl": pl}))  # noqa: S307
    assert kept["row"].to_list() == expected


def test_cocoa_needs_one_parquet_file_a_table(site: Path) -> None:
    (site / "clif_labs.parquet").rename(site / "clif_LABS.parquet")
    with pytest.raises(UserError, match=r"needs a single clif_labs\.parquet; `--copies 1`"):
        cocoa.collation(load_map("paper"), site)


# processes


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_peak_is_that_of_the_child_alone() -> None:
    ballast = np.ones(40_000_000)  # 320 MB here must not be seen there
    large = process.run(python("text = b'x' * 300_000_000"))
    small = process.run(python("pass"))
    grandchild = process.run(
        python("import subprocess, sys; subprocess.run([sys.executable, '-c', \"b'x' * 300_000_000\"])")
    )
    assert ballast.all()
    assert large.peak_gb >= 0.3
    assert small.peak_gb < 0.1
    assert grandchild.peak_gb >= 0.3
    assert large.seconds > 0


def test_a_child_that_fails_gives_a_sentence_with_its_last_lines() -> None:
    code = "import sys; print('hello', flush=True); print('no table', file=sys.stderr); sys.exit(3)"
    with pytest.raises(UserError, match="status 3; the last it said: hello / no table") as caught:
        process.run(python(code))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="by signal 9, mostly for want of memory; the last it said: nothing"):
        process.run(python("import os; os.kill(os.getpid(), 9)"))
    with pytest.raises(UserError, match="no-such-program is not a program"):
        process.run(["no-such-program"])


def test_a_relative_program_is_meant_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\npwd\n")
    (tmp_path / "tool").chmod(0o755)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "elsewhere" in process.run(["./tool"], folder=tmp_path / "elsewhere").output


def test_an_interrupt_ends_the_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started: list[Any] = []
    original = process.subprocess.Popen.wait

    def interrupted(self: Any, timeout: float | None = None) -> int:
        if not started:
            started.append(self)
            raise KeyboardInterrupt
        return original(self, timeout)

    monkeypatch.setattr(process.subprocess.Popen, "wait", interrupted)
    monkeypatch.setattr(process.tempfile, "tempdir", str(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        process.run(python("import time; time.sleep(60)"))
    assert started[0].poll() is not None
    assert not list(tmp_path.iterdir())


# copies


def test_copies_have_ids_of_their_own_and_joins_hold(site: Path, tmp_path: Path) -> None:
    rows = replicate(site, tmp_path / "twice", 2)
    stays = pl.read_parquet(tmp_path / "twice" / "clif_hospitalization.parquet")
    patients = pl.read_parquet(tmp_path / "twice" / "clif_patient.parquet")
    assert stays[ID].is_unique().all()
    assert patients["patient_id"].is_unique().all()
    assert set(stays["patient_id"]) == set(patients["patient_id"])
    for name, count in rows.items():
        before = pl.read_parquet(site / f"clif_{name}.parquet")
        after = pl.read_parquet(tmp_path / "twice" / f"clif_{name}.parquet")
        assert after.height == count == 2 * before.height
        assert after.columns == before.columns
        if ID in after.columns:
            assert set(after[ID]) <= set(stays[ID])


def test_noise_is_small_on_vitals_and_labs_and_nowhere_else(site: Path, tmp_path: Path) -> None:
    replicate(site, tmp_path / "out", 3)
    for name, column, noisy in [
        ("vitals", "vital_value", True),
        ("labs", "lab_value_numeric", True),
        ("medication_admin_continuous", "med_dose", False),
    ]:
        before = pl.read_parquet(site / f"clif_{name}.parquet")[column]
        after = pl.read_parquet(tmp_path / "out" / f"clif_{name}.parquet")[column]
        factor = (after / pl.concat([before] * 3)).fill_nan(1.0).to_numpy()
        assert abs(factor.mean() - 1) < 0.02
        assert 0.03 < factor.std() < 0.07 if noisy else factor.std() < 1e-9
        assert after.dtype == before.dtype


def test_copies_are_the_same_whenever_they_are_made(site: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        replicate(site, tmp_path / name, 2)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


# the whole bench


def options(*given: object) -> argparse.Namespace:
    command = argparse.ArgumentParser()
    arguments.add_tokenizer_arguments(command)
    return command.parse_args([str(argument) for argument in given])


def test_ours_alone_from_end_to_end(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tokenizer.tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(tokenizer, "find_cocoa", lambda given: None)
    assert tokenizer.run(options(site, "--repeats", 1, "--copies", 1, 2, "--json")) == 0
    printed = capsys.readouterr()
    assert "pip install cocoa-tokenizer" in printed.err
    once, twice = json.loads(printed.out)
    assert twice["rows"] == 2 * once["rows"]
    [before], [after] = once["tools"], twice["tools"]
    assert after["stays"] == 2 * before["stays"] > 0
    assert before["tokens"] > 5 * before["stays"]
    assert not once["ratios"]
    assert not list((tmp_path / "tmp").iterdir())


def test_a_program_that_is_not_cocoa(site: Path) -> None:
    with pytest.raises(UserError, match="not the program of cocoa-tokenizer; install it: python -m venv"):
        tokenizer.run(options(site, "--cocoa", sys.executable))
    with pytest.raises(UserError, match="is not the program of cocoa-tokenizer"):
        tokenizer.run(options(site, "--cocoa", "no/such/file"))


def test_tools_take_turns_and_are_compared_in_pairs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two tools that are no programs at all: which command runs when, and what becomes of the numbers."""
    ran: list[str] = []
    seconds = iter([1.0, 2.0, 2.0, 6.0, 3.0, 1.0, 3.0, 1.0, 1.0])  # a | b b | b b | a | a | b b

    def run(command: list[str | Path], *, folder: Path | None = None) -> Finished:
        ran.append(str(command[0]))
        return Finished(next(seconds), 0.5 if command[0] == "a" else 2.0, "")

    class Tool:
        version = "1"

        def __init__(self, name: str, commands: int) -> None:
            self.name, self.n = name, commands

        def commands(self, folder: Path) -> list[list[str | Path]]:
            extra = [] if self.name == "a" else ["only b"]
            ids = ["x", "y", *extra]
            frame = pl.DataFrame({ID: ids, "tokens": [[1, 2]] * len(ids)})
            frame.write_parquet(folder / "out.parquet")
            return [[self.name]] * self.n

        def output(self, folder: Path) -> tokenizer.Timelines:
            return tokenizer.Timelines(folder / "out.parquet", ID)

    monkeypatch.setattr(tokenizer, "run_process", run)
    tools: Any = [Tool("a", 1), Tool("b", 2)]
    result = tokenizer.Result(10, None, tuple(tokenizer.measure(tools, 3)))
    assert ran == ["a", "b", "b", "b", "b", "a", "a", "b", "b"]
    ours, other = result.tools
    assert (ours.seconds, other.seconds) == ((1.0, 1.0, 3.0), (4.0, 9.0, 2.0))
    assert (ours.tokens, other.tokens, other.tokens_of_shared_stays) == (4, 6, 4)
    assert result.ratios["peak_gb"] == tokenizer.Ratio(0.25, 0.25, 0.25)
    rate = result.ratios["tokens_per_second"]
    assert (rate.estimate, rate.low, rate.high) == pytest.approx((4 / 1.5, 4 / 9, 6.0))
    assert "times the tokens a second" in tokenizer.table_of([result])[-1]
