"""From CLIF tables to a complete study, on real patients, by the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from transformers import AutoModelForCausalLM

from ehrfm_core.clif.tables import ID
from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.states import read_out
from ehrfm_core.model.checkpoint import load
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.study import Study, open_study
from ehrfm_core.study.files import sha256
from ehrfm_core.study.layout import (
    CARD,
    MODEL,
    RESULT_FILES,
    RUN,
    RUN_CURVE,
    SITE_FILES,
    STAGES,
    TRAINING,
)
from ehrfm_core.tokens.window import cut_window, to_ragged
from tests.make_clif import make_tables, write_tables
from train.__main__ import main

STEPS = "12"
BOOTSTRAP = "50"


@dataclass
class Run:
    """A study and what the command printed on the way."""

    study: Study
    arguments: list[str]
    printed: str


def run(folder: Path, *sites: str, capsys: pytest.CaptureFixture[str] | None = None) -> Run:
    arguments = ["study", str(folder), "--steps", STEPS, "--bootstrap", BOOTSTRAP, "--device", "cpu"]
    arguments += ["--finetune", "none", "--repeats", "1"]  # has tests of its own
    for site in sites:
        arguments += ["--site", site]
    assert main(arguments) == 0
    return Run(open_study(folder), arguments, "")


@pytest.fixture(scope="module")
def one(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The 275 stays of the demo, one site."""
    return run(tmp_path_factory.mktemp("one") / "study", f"mimic={demo}")


@pytest.fixture(scope="module")
def two(demo: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The demo and 500 stays of a foreign producer: integer ids, no result times, one stay a patient."""
    foreign = tmp_path_factory.mktemp("foreign")
    source = shared_data / "clifforge-hospital"
    for path in source.glob("clif_*.parquet"):
        (foreign / path.name).symlink_to(path)
    (foreign / "clif_hospitalization.parquet").unlink()
    pl.read_parquet(source / "clif_hospitalization.parquet").sort(ID).head(500).write_parquet(
        foreign / "clif_hospitalization.parquet"
    )
    return run(tmp_path_factory.mktemp("two") / "study", f"mimic={demo}", f"foreign={foreign}")


def windows_of(study: Study, site: str) -> pl.DataFrame:
    tokenizer = study.tokenizer()
    return cut_window(
        study.site_table(site, "timelines"),
        tokenizer["vocabulary"],
        hours=tokenizer["window_hours"],
        max_tokens=tokenizer["max_tokens"],
    )


def check_contract(study: Study) -> None:
    """Every file, column, hash and promise of the study on disk."""
    assert list(study.manifest.stages) == list(STAGES)
    for stage in study.manifest.stages.values():
        for path, sha in stage.files.items():
            assert sha256(study.folder / path) == sha
    known = {path for stage in study.manifest.stages.values() for path in stage.files}
    on_disk = {str(p.relative_to(study.folder)) for p in study.folder.rglob("*") if p.is_file()}
    of_the_hour = {path for path in on_disk if path == CARD or path.startswith(f"{TRAINING}/")}
    assert of_the_hour >= {CARD, RUN, RUN_CURVE}
    assert on_disk - known - of_the_hour == {"study.json", "log.jsonl"}
    for site in study.sites:
        tables = {name: study.site_table(site, name) for name in SITE_FILES}
        stays, dynamics, jumps, paths = (tables[name] for name in ("stays", "dynamics", "jumps", "paths"))
        for name in ("timelines", "states", "dynamics", "anomaly", "jumps"):
            assert set(tables[name][ID]) == set(stays[ID])
            assert tables[name].height == stays.height
        assert paths.height == stays.height * 25
        assert set(paths["hour"]) == set(range(25))
        lengths = stays.join(windows_of(study, site), on=ID).join(jumps, on=ID)
        for column in ("tokens", "jump", "information"):
            assert (lengths[column].list.len() == lengths["n_tokens"]).all()
        summed = jumps.select(ID, pl.col("jump").cast(pl.List(pl.Float64)).list.sum()).join(dynamics, on=ID)
        assert np.allclose(summed["jump"], summed["path_length"], rtol=1e-9)
        top = tables["largest_jumps"].filter(pl.col("rank") == 1).join(dynamics, on=ID)
        assert top.height == dynamics["event_max_jump"].count()
        assert np.allclose(top["jump"], top["event_max_jump"])
        assert np.allclose(top["minute"], top["max_jump_minute"])
        assert tables["largest_jumps"].group_by(ID).len()["len"].max() <= 5
        assert (dynamics["outlier"] == (dynamics["anomaly_score"] > 0.5)).all()
        forest = tables["anomaly"].join(dynamics, on=ID)
        assert (forest["isolation_forest_flag"] == forest["outlier"]).all()
        assert np.allclose(forest["isolation_forest_score"], forest["anomaly_score"])
        assert stays.group_by("patient_id").agg(pl.col("split").n_unique())["split"].max() == 1
        check_risks(study, site, stays, paths)
        families = study.result("token_types").filter(pl.col("site") == site, pl.col("name").is_null())
        assert np.isclose(families["path_share"].sum(), 1)
    # of one site there are no draws and no gap, of one class no thresholds or comparisons
    may_be_empty = ("subsamples", "thresholds", "comparisons", "reweighting")
    assert all(study.result(name).height > 0 for name in RESULT_FILES if name not in may_be_empty)


def check_risks(study: Study, site: str, stays: pl.DataFrame, paths: pl.DataFrame) -> None:
    """The risk at the end of the window is the prediction; who does not count has none."""
    last = paths.filter(pl.col("hour") == 24)
    predictions = study.result("predictions").filter(
        (pl.col("model") == "probe") & (pl.col("arm") != "adapted") & (pl.col("test_site") == site)
    )
    for name, outcome in OUTCOMES.items():
        counts = stays.filter(outcome.counts())
        risk = last.select(ID, pl.col(f"risk_{name}").alias("risk")).drop_nulls()
        assert set(risk[ID]) <= set(counts[ID])
        own = predictions.filter(pl.col("outcome") == name).join(risk, on=ID, how="left")
        assert set(own[ID]) <= set(counts.filter(pl.col("split") == "test")[ID])
        assert np.allclose(own["risk"], own["probability"], atol=1e-6)


def test_one_site_gives_a_complete_study(one: Run) -> None:
    check_contract(one.study)
    assert one.study.site_table("mimic", "stays").height == 245
    assert set(one.study.result("metrics")["arm"]) == {"in_distribution"}
    assert any("One site only" in note for note in one.study.manifest.notes)


def test_the_second_run_does_nothing_and_says_so(one: Run, capsys: pytest.CaptureFixture[str]) -> None:
    files = [path for path in one.study.folder.rglob("*") if path.is_file()]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
    assert main(one.arguments) == 0
    printed = capsys.readouterr().out
    assert printed.count("nothing to do") == len(STAGES)
    assert "nothing was run" in printed
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files} == before


def test_a_file_that_was_lost_is_made_again_as_it_was(one: Run, capsys: pytest.CaptureFixture[str]) -> None:
    path = one.study.folder / "results" / "metrics.parquet"
    before = path.read_bytes()
    path.unlink()
    assert main(one.arguments) == 0
    assert capsys.readouterr().out.count("nothing to do") == len(STAGES) - 1
    assert path.read_bytes() == before


def test_the_checkpoint_opens_as_any_other(one: Run) -> None:
    model = AutoModelForCausalLM.from_pretrained(one.study.folder / MODEL, local_files_only=True)
    assert model.config.model_type == "llama"
    assert model.config.vocab_size == len(one.study.tokenizer()["vocabulary"])


def test_no_name_of_this_machine_is_kept(one: Run) -> None:
    for path in one.study.folder.rglob("*.json*"):
        assert str(one.study.folder.parent) not in path.read_text()
    json.loads((one.study.folder / "study.json").read_text())


def test_events_after_the_window_change_no_state(one: Run) -> None:
    """The whole way from tables to states, with everything after 24 h changed."""
    study = one.study
    tokenizer = study.tokenizer()
    bf16 = study.manifest.stages["embed"].summary["precision"] == "bf16"
    forward = Forward(load(study.folder / MODEL), bf16=bf16)
    frame = study.site_table("mimic", "timelines").sort(ID).head(20)
    inside = pl.col("minutes").list.eval(pl.element() <= 1440).list.sum()
    late = {"tokens": ([7, 8, 9], pl.Int32), "minutes": ([1441.0, 1500.0, 1600.0], pl.Float32)}
    changed = frame.with_columns(
        pl.concat_list(pl.col(name).list.head(inside), pl.lit(values, dtype=pl.List(dtype))).alias(name)
        for name, (values, dtype) in late.items()
    )
    outs = []
    for timelines in (frame, changed):
        cut = cut_window(timelines, tokenizer["vocabulary"], hours=24, max_tokens=1024)
        tokens, minutes = to_ragged(cut["tokens"], np.int64), to_ragged(cut["minutes"], np.float32)
        outs.append(read_out(forward, tokens, minutes, hours=24))
    assert np.array_equal(outs[0].states, outs[1].states)
    stored = dict(study.site_table("mimic", "states").iter_rows())
    for i, stay in enumerate(frame[ID]):
        assert np.allclose(stored[stay], outs[0].states[i], atol=1e-5)


def test_shuffled_tables_give_the_same_study(tmp_path: Path) -> None:
    tables = make_tables(patients=40)
    shuffled = {name: table.sample(fraction=1, shuffle=True, seed=5) for name, table in tables.items()}
    studies = []
    for name, content in (("a", tables), ("b", shuffled)):
        folder = write_tables(content, tmp_path / f"clif-{name}")
        studies.append(run(tmp_path / name, f"site={folder}").study)
    first, second = (
        {path: sha for stage in study.manifest.stages.values() for path, sha in stage.files.items()}
        for study in studies
    )
    assert first == second
    check_contract(studies[0])


def test_one_stay_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tables = make_tables(patients=2)
    tables["hospitalization"] = tables["hospitalization"].head(1)
    study = run(tmp_path / "s", f"site={write_tables(tables, tmp_path / 'clif')}").study
    assert study.site_table("site", "stays").height == 1
    assert study.result("metrics").height == 0
    assert any("tuning split is empty" in note for note in study.manifest.notes)


def test_a_second_site_does_not_train_the_model_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = write_tables(make_tables(patients=20), tmp_path / "a")
    second = write_tables(make_tables(patients=20, seed=1), tmp_path / "b")
    run(tmp_path / "s", f"a={first}")
    capsys.readouterr()
    study = str(tmp_path / "s")
    assert main(["study", study, "--site", f"b={second}", "--site", f"a={first}", "--source", "a"]) == 0
    assert capsys.readouterr().out.count("nothing to do") == 1, "the size and steps of before are kept"
    check_contract(open_study(study))
    assert main(["study", study, "--site", f"a={first}"]) == 0
    check_contract(open_study(study))


def test_two_sites_give_transfer_rows(two: Run) -> None:
    check_contract(two.study)
    metrics = two.study.result("metrics")
    assert set(metrics["arm"]) == {"in_distribution", "zero_shot", "adapted"}
    assert set(metrics.filter(pl.col("arm") != "in_distribution")["test_site"]) == {"foreign"}
    assert not any("One site only" in note for note in two.study.manifest.notes)
    assert any("foreign: clif_labs has no lab_result_dttm" in note for note in two.study.manifest.notes)


def test_the_source_alone_decides_tokens_model_and_probes(one: Run, two: Run) -> None:
    """A second site changes nothing that was fitted on the first."""
    for name in ("tokenizer.json", "model/model.safetensors", "results/probes.json"):
        assert (one.study.folder / name).read_bytes() == (two.study.folder / name).read_bytes()
    for name in ("stays", "timelines", "states", "dynamics", "anomaly", "jumps", "paths"):
        assert one.study.site_table("mimic", name).equals(two.study.site_table("mimic", name))


def test_a_study_whose_settings_change_runs_again_from_there(one: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(one.study.folder, copy)
    assert main(["evaluate", str(copy), "--bootstrap", "20"]) == 0
    assert open_study(copy).manifest.stages["evaluate"].settings["n_bootstrap"] == 20
