"""The stage `pretrain`: whatever happens to it on the way, the study is the one it would have been."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from ehrfm_core.study import open_study
from ehrfm_core.study.layout import CARD, LOG, site_file
from ehrfm_core.study.verify import verify
from tests.make_clif import make_tables, write_tables
from tests.model.processes import until
from tests.reseal import reseal
from tests.train.lives import Death, start
from tests.train.mini import mini_sizes
from train.__main__ import main

STEPS = 40
OPTIONS = ("--steps", STEPS, "--batch-tokens", 256, "--save-every", 3, "--device", "cpu")

pytestmark = pytest.mark.usefixtures(mini_sizes.__name__)


def tokenize(folder: Path, *options: str, patients: int = 12) -> Path:
    clif = write_tables(make_tables(patients=patients), folder / "clif")
    study = folder / "study"
    assert main(["tokenize", str(study), "--site", f"mimic={clif}", "--max-tokens", "64", *options]) == 0
    return study


def contents(study: Path) -> dict[str, bytes]:
    """Every file that must be the same for the same data, settings and seed."""
    files = {path.relative_to(study).as_posix(): path for path in study.rglob("*") if path.is_file()}
    dated = (CARD, LOG, "training/")
    return {name: path.read_bytes() for name, path in files.items() if not name.startswith(dated)}


def left_in_training(study: Path) -> set[str]:
    return {path.name.split(".1")[0] for path in (study / "training").iterdir()}


KEPT = {"run.json", "metrics.jsonl", "last", "events.out.tfevents"}


@pytest.fixture(scope="module")
def tokenized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tokenize(tmp_path_factory.mktemp("tokenized"), "--synthetic")


@pytest.fixture(scope="module")
def whole(tokenized: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study as it comes out where nothing happens."""
    folder = tmp_path_factory.mktemp("whole")
    study = Path(shutil.copytree(tokenized, folder / "study"))
    life = start(folder / "log", "pretrain", study, *OPTIONS)
    assert life.status() == 0, life.printed
    return study


@pytest.fixture
def study(tokenized: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tokenized, tmp_path / "study"))


@pytest.fixture
def done(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "study"))


def run(study: Path, *options: object) -> int:
    """Run it here, with the options of the other runs where none are given."""
    return main([str(word) for word in ("pretrain", study, *(options or OPTIONS))])


def finish(study: Path, tmp_path: Path, whole: Path, *, interrupted: bool = False) -> str:
    """Run the stage again to its end; check that nothing tells of what happened. Returns what was printed."""
    life = start(tmp_path / "end", "pretrain", study, *OPTIONS)
    assert life.status() == 0, life.printed
    ours, theirs = contents(study), contents(whole)
    if interrupted:  # the training loss of the curve is that since the last line, and is in the hash as well
        pattern = rb'"train_loss": [0-9.]+|"sha256": "[0-9a-f]+"\n'
        ours, theirs = ({k: re.sub(pattern, b"", v) for k, v in c.items()} for c in (ours, theirs))
    assert ours == theirs
    assert left_in_training(study) == KEPT
    lines = [json.loads(line) for line in (study / "training" / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines]
    assert steps == sorted(set(steps))
    assert [step for step in steps if step % 10 == 0] == list(range(10, STEPS + 1, 10))
    assert interrupted or len(steps) == STEPS // 10
    told = json.loads((study / "training" / "run.json").read_text())
    assert (told["status"], told["step"]) == ("finished", STEPS)
    return life.printed


def settings_of(study: Path) -> dict[str, Any]:
    return json.loads((study / "study.json").read_text())["stages"]["pretrain"]["settings"]


def test_killed_at_random_moments_it_ends_with_the_same_study(
    study: Path, whole: Path, tmp_path: Path
) -> None:
    rng = random.Random(0)
    for seconds in (0.3, 1.0, 0.5, 0.2):
        life = start(tmp_path / "log", "pretrain", study, *OPTIONS)
        if seconds > 0.2:  # while it trains, else anywhere
            until(lambda: (study / "training" / "run.json").exists())
        life.process.join(rng.uniform(0, seconds))
        life.kill()
        assert life.status() in (0, -signal.SIGKILL), life.printed
    finish(study, tmp_path, whole)


def reached(study: Path) -> int:
    try:
        return json.loads((study / "training" / "run.json").read_text())["step"] + 9
    except (OSError, ValueError, KeyError):
        return 0


# in this order: each life goes on from where the one before it ended
DEATHS: dict[str, Death] = {
    "before anything": ("train.pretrain", "write_token_arrays", 1, "before"),
    "half the arrays": ("ehrfm_core.study.token_arrays", "_to_npy", 1, "after"),
    "with a state": ("ehrfm_core.model.keeper", "save_state", 1, "after"),
    "with the best weights, before their state": ("ehrfm_core.model.keeper", "save_state", 1, "before"),
    "before a state is renamed": ("ehrfm_core.model.state", "save_file", 2, "after"),
    "trained": ("train.pretrain", "fit", 1, "after"),
    "at the gate": ("train.pretrain", "check_information", 1, "before"),
    "before the model is there": ("transformers", "LlamaForCausalLM.save_pretrained", 1, "after"),
    "before the last one is there": ("transformers", "LlamaForCausalLM.save_pretrained", 2, "after"),
    "before the record": ("train.stages", "finish", 1, "before"),
    "after the record": ("train.stages", "finish", 1, "after"),
    "before tidying up": ("train.pretrain", "forget", 1, "before"),
}


def test_killed_at_the_worst_moments(study: Path, whole: Path, tmp_path: Path) -> None:
    for name, death in DEATHS.items():
        life = start(tmp_path / "log", "pretrain", study, *OPTIONS, death=death)
        assert life.status() == -signal.SIGKILL, (name, life.printed)
        recorded = "pretrain" in open_study(study).manifest.stages
        assert recorded == (name in ("after the record", "before tidying up")), name
    assert "nothing to do" in finish(study, tmp_path, whole)


@pytest.mark.parametrize("name", ["trained", "before the last one is there", "before the record"])
def test_killed_once(study: Path, whole: Path, tmp_path: Path, name: str) -> None:
    life = start(tmp_path / "log", "pretrain", study, *OPTIONS, death=DEATHS[name])
    assert life.status() == -signal.SIGKILL, life.printed
    assert "nothing to do" not in finish(study, tmp_path, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_one_sentence_and_goes_on(
    study: Path, whole: Path, tmp_path: Path, number: signal.Signals
) -> None:
    life = start(tmp_path / "log", "pretrain", study, *OPTIONS)
    until(lambda: reached(study) > 9)
    life.kill(number)
    assert life.status() == 130
    assert life.printed.count("run the same command again to go on") == 1
    assert "its state is saved" in life.printed
    assert "Error" not in life.printed
    assert "Traceback" not in life.printed
    told = json.loads((study / "training" / "run.json").read_text())
    assert told["status"] == "stopped"
    assert 0 < told["step"] < STEPS
    finish(study, tmp_path, whole, interrupted=True)
    assert json.loads((study / "training" / "run.json").read_text())["resumed_at"] == told["step"]


def test_a_signal_that_comes_after_training_stops_before_the_next_stage(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from train import pretrain as stage

    real = stage.check_information

    def interrupted(*arguments: Any, **options: Any) -> float:
        os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **options)

    monkeypatch.setattr(stage, "check_information", interrupted)
    before = signal.getsignal(signal.SIGTERM)
    assert run(study) == 130
    assert "Stopped after training" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGTERM) == before
    assert "pretrain" in open_study(study).manifest.stages
    assert run(study) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_finished_stage_needs_nothing_of_its_run(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(done / "training")
    (done / CARD).unlink()
    before = contents(done)
    assert run(done) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert contents(done) == before
    assert not (done / "training").exists()


def test_with_another_rate_an_unfinished_run_begins_anew(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    life = start(tmp_path / "log", "pretrain", study, *OPTIONS, death=DEATHS["before the record"])
    assert life.status() == -signal.SIGKILL
    assert run(study, *OPTIONS, "--learning-rate", "1e-3", "--steps", "20") == 0
    told = json.loads((study / "training" / "run.json").read_text())
    assert told["resumed_at"] is None
    assert told["settings"]["learning_rate"] == 1e-3
    lines = (study / "training" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [10, 20]
    assert left_in_training(study) == KEPT
    assert len(list((study / "training").glob("events.out.tfevents.*"))) == 1


def test_with_another_rate_even_where_it_was_killed_half_saved(study: Path, tmp_path: Path) -> None:
    life = start(tmp_path / "log", "pretrain", study, *OPTIONS, death=DEATHS["before the last one is there"])
    assert life.status() == -signal.SIGKILL
    assert run(study, *OPTIONS, "--learning-rate", "1e-3", "--steps", "4") == 0
    assert left_in_training(study) == KEPT


def test_a_run_of_other_settings_that_was_given_up_leaves_nothing(
    done: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(done)
    death: Death = ("ehrfm_core.model.keeper", "save_state", 2, "after")
    life = start(tmp_path / "log", "pretrain", done, *OPTIONS, "--learning-rate", "1e-3", death=death)
    assert life.status() == -signal.SIGKILL
    assert (done / "training" / "arrays").exists()
    assert run(done) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert contents(done) == before
    assert left_in_training(done) == KEPT


def test_what_is_left_out_is_as_before(done: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(done, "--learning-rate", "1e-3", "--steps", "4") == 0
    capsys.readouterr()
    assert run(done, "--device", "cpu") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert run(done, "--epochs", "0.5") == 0
    settings = settings_of(done)
    assert (settings["steps"], settings["epochs"]) == (None, 0.5)
    assert (settings["learning_rate"], settings["batch_tokens"]) == (1e-3, 256)
    assert run(done, "--size", "small", "--steps", "2") == 0
    settings = settings_of(done)
    assert (settings["learning_rate"], settings["batch_tokens"], settings["epochs"]) == (None, None, None)
    assert open_study(done).manifest.stages["pretrain"].summary["learning_rate"] == 3e-3


def test_what_it_was_trained_with_outlives_new_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*arguments: Any, **options: Any) -> bool:
        return False

    monkeypatch.setitem(sys.modules, "train.embed", SimpleNamespace(embed=nothing))
    monkeypatch.setitem(sys.modules, "train.evaluate", SimpleNamespace(evaluate=nothing))
    study = tokenize(tmp_path)
    assert run(study, "--learning-rate", "1e-3", "--steps", "4", "--seed", "5") == 0
    write_tables(make_tables(patients=14), tmp_path / "clif")
    assert main(["study", str(study), "--site", f"mimic={tmp_path / 'clif'}"]) == 0
    settings = settings_of(study)
    assert (settings["learning_rate"], settings["steps"], settings["seed"]) == (1e-3, 4, 5)


def test_the_checkpoint_is_one_for_everybody(whole: Path) -> None:
    manifest = open_study(whole).manifest
    summary = manifest.stages["pretrain"].summary
    assert abs(summary["information_difference"]) <= 1e-3
    for folder in (whole / "model", whole / "training" / "last"):
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
        assert sum(p.numel() for p in model.parameters()) == summary["parameters"]
    vocabulary = open_study(whole).tokenizer()["vocabulary"]
    tokenizer = AutoTokenizer.from_pretrained(whole / "model", local_files_only=True)
    assert tokenizer.get_vocab() == vocabulary
    assert (whole / "model" / "study_tokenizer.json").read_text() == (whole / "tokenizer.json").read_text()
    files = manifest.stages["pretrain"].files
    assert CARD not in files
    assert {path.name for path in (whole / "model").iterdir()} == {
        *(Path(path).name for path in files),
        "README.md",
    }
    assert not any(path.startswith("training") for path in files)


def test_the_card_says_what_it_has_seen_and_how_well_it_predicts(whole: Path) -> None:
    card = (whole / CARD).read_text(encoding="utf-8")
    study = open_study(whole)
    summary = study.manifest.stages["pretrain"].summary
    told = json.loads((whole / "training" / "run.json").read_text())
    assert "Trained on SYNTHETIC data: no real patient is in it" in card
    assert f"{summary['tuning_loss']:.4f}" in card
    assert f"{summary['bigram_nats']:.4f}" in card
    assert told["updated"][:10] in card
    assert f"| stays trained on | {told['train_stays']} |" in card
    assert "from a random start" in card
    assert str(whole.parent) not in card
    assert verify(study) == [f"{whole}: stage embed has not run; run `python -m train study`."]


def test_weights_that_do_not_give_their_own_loss_are_not_written(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from train import gate

    real = gate.padded_loss
    monkeypatch.setattr(gate, "padded_loss", lambda *a, **k: real(*a, **k) + 0.002)
    assert run(study, "--steps", "2") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("Error: The information read out of the model")
    assert not (study / "model").exists()
    assert "pretrain" not in open_study(study).manifest.stages


def one_sentence(capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if "Error" in line]
    assert len(errors) == 1, captured.err
    assert all(part in errors[0] for part in parts), errors
    assert "Traceback" not in captured.err + captured.out


def with_splits(study: Path, change: Callable[[pl.Expr], pl.Expr]) -> Path:
    """The splits of a tokenized study changed, as if it had been made so."""
    path = study / site_file("mimic", "stays")
    pl.read_parquet(path).with_columns(change(pl.col("split")).alias("split")).write_parquet(path)
    reseal(study)
    return study


def test_an_empty_tuning_split(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_splits(study, lambda split: split.replace("tuning", "train"))
    assert run(study, "--steps", "4") == 0
    stage = open_study(study).manifest.stages["pretrain"]
    assert len(stage.notes) == 1
    assert "The tuning split is empty" in stage.notes[0]
    assert stage.summary["tuning_loss"] is None
    assert stage.summary["best_step"] == stage.summary["steps"] == 4
    assert "information_difference" not in stage.summary
    assert "| this model, tuning split (nats a token) | – |" in (study / CARD).read_text()
    capsys.readouterr()
    assert run(study, "--steps", "4") == 0
    assert "nothing to do" in capsys.readouterr().out


def test_an_empty_training_split(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_splits(study, lambda split: split.replace("train", "tuning"))
    assert run(study, "--steps", "4") == 1
    one_sentence(capsys, "The training split holds no timeline of two tokens or more")
    assert not (study / "model").exists()


def test_one_stay(tmp_path: Path) -> None:
    tables = make_tables(patients=2)
    tables["hospitalization"] = tables["hospitalization"].head(1)
    clif = write_tables(tables, tmp_path / "clif")
    assert main(["tokenize", str(tmp_path / "s"), "--site", f"a={clif}"]) == 0
    assert run(tmp_path / "s", "--steps", "3") == 0
    summary = open_study(tmp_path / "s").manifest.stages["pretrain"].summary
    assert summary["steps"] == 3


def test_a_loss_that_is_no_number(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(study, *OPTIONS, "--learning-rate", "1e30") == 1
    one_sentence(capsys, "The loss is not a number at step", "lower --learning-rate than 1e+30")
    told = json.loads((study / "training" / "run.json").read_text())
    assert told["status"] == "stopped"
    assert "not a number" in told["reason"]
    assert run(study, *OPTIONS, "--learning-rate", "1e-3", "--steps", "4") == 0


def test_a_place_that_cannot_be_written(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "training").write_text("")
    assert run(study, "--steps", "4") == 1
    one_sentence(capsys, str(study / "training"), "run the same command again")


@pytest.mark.skipif(os.geteuid() == 0, reason="to the superuser everything is writable")
def test_a_study_that_is_read_only(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study.chmod(0o555)
    try:
        assert run(study, "--steps", "4") == 1
        one_sentence(capsys, "Permission denied", str(study))
    finally:
        study.chmod(0o755)


def test_shard_wants_several_processes(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(study, "--shard") == 1
    one_sentence(capsys, "--shard: there is one process only; give --distributed as well")
