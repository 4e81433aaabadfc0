"""Training runs read from the run's files, whole, half and hostile, and from the manifest without them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ehrfm_core.study import open_study
from ehrfm_core.study.curves import CURVE, read_curve, thin
from ehrfm_core.study.layout import MANIFEST, RUN, RUN_CURVE
from ehrfm_core.study.runs import Run, read_run
from tests.make_run import line, make_run
from tests.make_study import make_study
from tests.reseal import reseal


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_study(tmp_path_factory.mktemp("made") / "made", sites={"mimic": 30})


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "study")


def run_of(folder: Path) -> Run:
    run = read_run(open_study(folder))
    assert run is not None
    return run


def change_manifest(folder: Path, stages: dict[str, Any]) -> None:
    value = json.loads((folder / MANIFEST).read_text())
    for name, stage in stages.items():
        value["stages"].pop(name) if stage is None else value["stages"][name]["summary"].update(stage)
    (folder / MANIFEST).write_text(json.dumps(value))
    reseal(folder)


def untrained(folder: Path) -> None:
    change_manifest(folder, dict.fromkeys(("pretrain", "embed", "evaluate")))


def test_a_finished_run_is_read_from_its_files(study: Path) -> None:
    make_run(study)
    run = run_of(study)
    assert (run.name, run.status, run.logged, run.problems) == ("study", "finished", True, ())
    assert (run.step, run.total_steps, run.lines, len(run.curve)) == (200, 200, 20, 20)
    assert dict(run.curve.schema) == CURVE
    assert run.tokens == 200 * 4096
    assert run.epochs == pytest.approx(200 * 4096 / 420_000)
    assert run.seconds == pytest.approx(54)
    assert run.mfu == 0.41
    assert run.settings["learning_rate"] == 0.002
    assert run.best_step == 200
    assert run.best_tuning_loss == pytest.approx(line(200, look=True)["tuning_loss"])
    assert run.tokenizer is not None
    assert run.vocabulary == open_study(study).manifest.stages["tokenize"].summary["vocabulary_size"]


def test_without_files_the_manifest_has_the_curve(study: Path) -> None:
    run = run_of(study)
    assert (run.status, run.logged, run.step, run.lines) == ("finished", False, 900, 12)
    assert run.curve["tuning_loss"].null_count() == 0
    assert run.curve["loss"].null_count() == 0
    assert run.curve["seconds"].null_count() == 12
    assert run.tokens == pytest.approx(150_000)
    assert run.epochs == pytest.approx(3)


@pytest.mark.parametrize("curve", [None, "x", 7, [], [1, None, "a"], [{"step": "NaN"}], [{"step": [1]}]])
def test_a_manifest_without_a_usable_curve_still_gives_its_figures(study: Path, curve: Any) -> None:
    change_manifest(study, {"pretrain": {"curve": curve}})
    run = run_of(study)
    assert run.curve.is_empty()
    assert run.best_tuning_loss == 2.41


def test_nothing_trained_is_no_run(study: Path) -> None:
    untrained(study)
    assert read_run(open_study(study)) is None


def test_a_run_that_goes_on_has_a_cut_last_line(study: Path) -> None:
    untrained(study)
    log = make_run(study, taken=120, status="running")
    with log.open("a") as file:
        file.write('{"step": 130, "lo')
    run = run_of(study)
    assert (run.status, run.step, run.total_steps, run.problems) == ("running", 120, 200, ())
    assert run.share == 0.6
    assert run.remaining_seconds == pytest.approx(80 * 0.27)


def test_a_run_without_a_line_yet(study: Path) -> None:
    untrained(study)
    make_run(study, status="running").write_text("")
    run = run_of(study)
    assert run.curve.is_empty()
    assert run.problems == ()
    (study / RUN_CURVE).unlink()
    assert run_of(study).curve.is_empty()


def test_the_curve_may_know_a_better_step_than_run_json(study: Path) -> None:
    make_run(study, status="running", best_step=50, best_tuning_loss=9.0)
    assert run_of(study).best_step == 200
    make_run(study, best_step=150, best_tuning_loss=9.0)
    run = run_of(study)
    assert (run.best_step, run.best_tuning_loss) == (150, 9.0), "the ended run's own figure counts"


def test_the_run_going_on_does_not_borrow_figures_of_the_finished_one(study: Path) -> None:
    make_run(study, status="running", best_step=None, best_tuning_loss=None).unlink()
    run = run_of(study)
    assert run.best_tuning_loss is None
    assert run.curve.is_empty()


def test_what_was_written_before_a_resumption_is_replaced(study: Path) -> None:
    log = make_run(study, taken=100)
    again = [line(step, floor=2.0) for step in range(65, 201, 10)]
    with log.open("a") as file:
        file.writelines(json.dumps(point) + "\n" for point in again)
    curve = run_of(study).curve
    assert curve["step"].to_list() == [10, 20, 30, 40, 50, 60, *range(65, 201, 10)]


def test_not_a_number_in_every_spelling_is_unknown(study: Path) -> None:
    lines = [
        '{"step": 10, "loss": NaN, "tokens": 100}',
        '{"step": 20, "loss": "NaN", "tokens": -Infinity}',
        '{"step": 30, "loss": "1e999", "tokens": "inf"}',
        '{"step": 40, "loss": true, "tokens": null}',
        '{"step": 50, "loss": [1], "tokens": {"a": 1}}',
        '{"step": 60, "loss": 2.5, "tokens": 600}',
    ]
    make_run(study).write_text("\n".join(lines))
    run = run_of(study)
    assert run.problems == ()
    assert run.curve["loss"].to_list() == [None] * 5 + [2.5]
    assert run.curve["tokens"].to_list() == [100, None, None, None, None, 600]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00\x01" * 50 + b"\n\n\n",
        b"[]\n" * 9,
        b"{}\n" * 9,
        b'{"step": -1}\n{"step": 1e30}\n',
        b"\x01\n" * 5,
    ],
)
def test_a_log_without_one_readable_line_is_told_once(study: Path, content: bytes) -> None:
    make_run(study).write_bytes(content)
    run = run_of(study)
    (sentence,) = run.problems
    assert str(study / RUN_CURVE) in sentence
    assert run.curve.is_empty()


def test_lines_that_cannot_be_read_are_counted_and_the_others_drawn(study: Path) -> None:
    log = make_run(study)
    log.write_bytes(b"\xff\xfe\nnull\n" + log.read_bytes())
    run = run_of(study)
    assert run.lines == 20
    assert "2 of 22 lines cannot be read" in run.problems[0]


@pytest.mark.parametrize(
    "content",
    [b"", b'{"status": "run', b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"step": ' + b"9" * 5000 + b"}"],
)
def test_a_broken_run_json_is_told_and_the_curve_drawn(study: Path, content: bytes) -> None:
    make_run(study)
    (study / RUN).write_bytes(content)
    run = run_of(study)
    (sentence,) = run.problems
    assert str(study / RUN) in sentence
    assert (run.status, run.lines) == ("unknown", 20)


@pytest.mark.parametrize("value", [None, True, "NaN", "x", [], {}, 1e300, -1e300, float("nan"), float("inf")])
def test_no_value_of_run_json_raises(study: Path, value: Any) -> None:
    make_run(study)
    told = json.loads((study / RUN).read_text())
    (study / RUN).write_text(json.dumps(dict.fromkeys(told, value)))
    run = run_of(study)
    assert run.status == "unknown"
    assert run.updated is None
    assert run.step == 200


def test_a_folder_in_place_of_a_file_and_a_name_with_a_star(made: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(made, tmp_path / "a[b]*")
    make_run(folder)
    assert run_of(folder).lines == 20
    (folder / RUN).unlink()
    (folder / RUN).mkdir()
    (folder / RUN_CURVE).unlink()
    (folder / RUN_CURVE).mkdir()
    run = run_of(folder)
    assert len(run.problems) == 1
    assert not run.logged


def test_times_have_a_zone(study: Path) -> None:
    make_run(study, updated="2026-11-01T10:00:00")
    assert run_of(study).updated == datetime(2026, 11, 1, 10, tzinfo=UTC)


def test_a_long_log_is_thinned_but_keeps_extremes_looks_and_ends(study: Path) -> None:
    points = [line(step, look=step % 1000 == 0) for step in range(1, 30_001)]
    points[12_345] |= {"loss": 77.0}
    points[23_456] |= {"grad_norm": 55.0}
    make_run(study).write_text("\n".join(map(json.dumps, points)))
    run = run_of(study)
    assert run.lines == 30_000
    assert len(run.curve) <= 1_100
    assert run.curve["loss"].max() == 77
    assert run.curve["grad_norm"].max() == 55
    assert run.curve["tuning_loss"].drop_nulls().len() == 30
    assert (run.curve["step"].min(), run.curve["step"].max()) == (1, 30_000)
    assert run.curve["step"].is_sorted()


def test_even_a_curve_with_too_many_looks_is_thinned() -> None:
    frame = pl.DataFrame([line(step, look=True) for step in range(1, 9_001)], schema=CURVE)
    kept = thin(frame, 300)
    assert len(kept) <= 600
    assert kept["tuning_loss"].min() == frame["tuning_loss"].min()


def test_no_file_is_no_curve_and_no_problem(tmp_path: Path) -> None:
    assert read_curve(tmp_path / "nowhere.jsonl") == (None, None)


def test_reading_runs_does_not_import_torch() -> None:
    code = "import sys, ehrfm_core.study.runs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
