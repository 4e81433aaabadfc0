"""Earlier stays as context and whole stays, the whole way from tables by the command line."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM

from ehrfm_core.clif.tables import ID
from ehrfm_core.live import Instrument
from ehrfm_core.study import Study, open_study
from ehrfm_core.study.layout import MODEL
from ehrfm_core.study.verify import verify
from ehrfm_core.study.windows import read_windows
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import model_window
from tests.make_clif import make_tables, write_tables
from train.__main__ import main

MOST = 96
STEPS = ["--steps", "12", "--bootstrap", "50", "--device", "cpu", "--max-tokens", str(MOST)]
STEPS += ["--finetune", "none", "--repeats", "1"]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("history")
    site = write_tables(make_tables(patients=40), folder / "clif")
    return ["study", str(folder / "study"), "--site", f"here={site}", *STEPS]


@pytest.fixture(scope="module")
def study(command: list[str]) -> Study:
    assert main([*command, "--history", "--whole-stay", "--preset", "spacing"]) == 0
    return open_study(command[1])


@pytest.fixture(scope="module")
def rows(study: Study) -> pl.DataFrame:
    """Every stay with its window, its whole timeline and the stay before it."""
    tokenizer = Tokenizer.from_json(study.tokenizer())
    timelines = study.site_table("here", "timelines")
    windows = model_window(timelines, tokenizer).rename({"tokens": "window", "minutes": "window_minutes"})
    return timelines.join(windows, on=ID).join(study.site_table("here", "earlier"), on=ID)


def context_of(stay: str, rows: pl.DataFrame, vocabulary: dict[str, int]) -> list[int]:
    """The tokens before a stay: the one that ended before it and a token for the gap, at most half."""
    row = rows.row(by_predicate=pl.col(ID) == stay, named=True)
    if row["earlier_id"] is None:
        return []
    before = rows.row(by_predicate=pl.col(ID) == row["earlier_id"], named=True)
    gap = "1w+" if row["gap_hours"] >= 168 else "3d-1w" if row["gap_hours"] >= 72 else None
    assert gap, "gaps of the made tables are long"
    whole = [*context_of(row["earlier_id"], rows, vocabulary), *before["tokens"], vocabulary[f"time/{gap}"]]
    return whole[-MOST // 2 :]


def test_the_study_keeps_its_promises(study: Study) -> None:
    assert verify(study) == []
    assert study.site_table("here", "stays")["n_tokens"].max() <= MOST // 2
    stays = study.site_table("here", "stays").join(study.site_table("here", "earlier"), on=ID)
    assert stays["earlier_id"].count() == stays.height - stays["patient_id"].n_unique() > 5
    assert any("have an earlier stay of the patient" in note for note in study.manifest.notes)


def test_a_state_is_that_of_the_window_after_the_stays_before_it(study: Study, rows: pl.DataFrame) -> None:
    model = AutoModelForCausalLM.from_pretrained(study.folder / MODEL, local_files_only=True)
    stored = dict(study.site_table("here", "states").iter_rows())
    jumps = dict(study.site_table("here", "jumps").select(ID, "jump").iter_rows())
    vocabulary = study.tokenizer()["vocabulary"]
    some = rows.filter(pl.col("earlier_id").is_not_null()).sort(ID).head(6)
    for stay, window in some.select(ID, "window").iter_rows():
        before = context_of(stay, rows, vocabulary)
        assert len(before) == MOST // 2
        with torch.no_grad():
            sequence = torch.tensor([[*before, *window]])
            states = model.model(sequence).last_hidden_state[0, len(before) :].numpy()
            alone = model.model(torch.tensor([list(window)])).last_hidden_state[0].numpy()
        assert np.allclose(stored[stay], states[-1], atol=0.05)  # bfloat16 where it pays
        steps = np.linalg.norm(np.diff(states, axis=0), axis=1)
        assert np.allclose(jumps[stay][1:], steps, rtol=0.05, atol=0.05)
        assert np.abs(alone[0] - states[0]).max() > 0.2, "what stood before is seen"


def test_what_stands_before_a_window_does_not_depend_on_its_length(study: Study, rows: pl.DataFrame) -> None:
    """Else the number of events to come would be seen from the first one on."""
    windows = read_windows(study, "here", Tokenizer.from_json(study.tokenizer()))
    vocabulary = study.tokenizer()["vocabulary"]
    for i, stay in enumerate(windows.stays[ID]):
        assert windows.context[i].tolist() == context_of(stay, rows, vocabulary)


def test_a_stay_read_live_is_what_the_study_holds(study: Study, rows: pl.DataFrame) -> None:
    instrument = Instrument.of(study)
    stay = str(rows.filter(pl.col("earlier_id").is_not_null())[ID].min())
    context = instrument.context(study, "here", stay)
    assert len(context) == MOST // 2
    reading = instrument.read(*instrument.open(study, "here", stay), context)
    row = pl.col(ID) == stay
    stored = study.site_table("here", "jumps").filter(row)["jump"][0].to_numpy()
    assert np.allclose(reading.jumps, stored, rtol=0.05, atol=0.05)
    less = instrument.read_without(reading, share=0.5, dropped="random")
    assert (less.context == reading.context).all()
    assert len(less.tokens) < len(reading.tokens)


def test_redaction_reads_earlier_stays_as_well(study: Study, command: list[str]) -> None:
    assert main(["redact", command[1], "--shares", "0.5", "--bootstrap", "20", "--device", "cpu"]) == 0
    whole = open_study(command[1]).result("redaction").filter(pl.col("dropped") == "none")
    probes = study.result("metrics").filter(
        (pl.col("model") == "probe") & (pl.col("metric") == "roc_auc") & (pl.col("subgroup") == "all")
    )
    both = whole.join(probes, on="outcome").drop_nulls("estimate")
    assert both.height > 0
    assert both["roc_auc"].to_list() == pytest.approx(both["estimate"].to_list(), abs=0.02)


def test_settings_are_remembered_and_can_be_taken_back(
    study: Study, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 0
    assert "nothing was run" in capsys.readouterr().out
    assert main([*command, "--no-history", "--no-whole-stay"]) == 0
    again = open_study(command[1])
    assert again.tokenizer()["history"] is False
    assert not (again.folder / "sites/here/later.parquet").exists()
    assert verify(again) == []
    assert again.site_table("here", "stays")["n_tokens"].max() > MOST // 2
