from __future__ import annotations

import json
import sys
import types
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoConfig, LlamaForCausalLM, trainer

from ehrfm_core.errors import UserError
from ehrfm_core.model.sizes import SIZES, llama_config
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.vocabulary import build
from train.bench import clocked_cotorra, cotorra

VOCABULARY = build({"lab/sodium", "location/icu", "sex/female"}, n_bins=10)
REPORT = {
    "version": "26.10.1",
    "step_seconds": [9.0, 2.0, 4.0, 3.0],
    "rows": 4,
    "row_tokens": 8,
    "padding": 8,
    "attended": 2.5,
}


def lists(*lengths: int) -> Ragged:
    generator = np.random.default_rng(0)
    values = generator.integers(1, len(VOCABULARY), sum(lengths)).astype(np.int32)
    return Ragged.from_lengths(values, np.array(lengths))


def minutes_of(tokens: Ragged) -> Ragged:
    return Ragged((tokens.positions * 0.5).astype(np.float32), tokens.offsets)


# what is written


def test_the_files_hold_every_token_of_every_stay_in_its_split(tmp_path: Path) -> None:
    train, tuning = lists(5, 3, 7), lists(4)
    minutes = (minutes_of(train), minutes_of(tuning))
    cotorra.write_inputs(tmp_path, train, tuning, VOCABULARY, minutes=minutes)
    table = pl.read_parquet(tmp_path / "tokens_times.parquet")
    splits = pl.read_parquet(tmp_path / "subject_splits.parquet")
    assert dict(table.schema) == {
        "subject_id": pl.String,
        "tokens": pl.List(pl.Int64),
        "times": pl.List(pl.Datetime("us")),
    }
    assert table["subject_id"].is_unique().all()
    joined = table.join(splits, on="subject_id")
    for split, tokens in (("train", train), ("tuning", tuning)):
        rows = joined.filter(split=split)
        assert rows["tokens"].to_list() == [tokens[i].tolist() for i in range(len(tokens))]
        half = timedelta(seconds=30)
        expected = [[cotorra.EPOCH + half * i for i in range(n)] for n in tokens.lengths.tolist()]
        assert rows["times"].to_list() == expected
    assert set(splits["split"]) == {"train", "tuning", "held_out"}, "its loader opens all three"


def test_without_times_a_token_is_a_minute_after_the_one_before(tmp_path: Path) -> None:
    cotorra.write_inputs(tmp_path, lists(3), lists(2), VOCABULARY)
    times = pl.read_parquet(tmp_path / "tokens_times.parquet")["times"][0].to_list()
    assert times == [datetime(2000, 1, 1, 0, minute) for minute in range(3)]  # noqa: DTZ001


def test_the_tokenizer_knows_the_names_that_cotorra_asks_for(tmp_path: Path) -> None:
    cotorra.write_inputs(tmp_path, lists(3), lists(2), VOCABULARY)
    tokenizer = json.loads((tmp_path / "tokenizer.yaml").read_text())
    assert tokenizer["cfg"]["n_bins"] == 10
    names = tokenizer["lookup"]
    assert sorted(names.values()) == list(range(len(VOCABULARY)))
    assert (names["BOS"], names["EOS"]) == (VOCABULARY["TL_START"], VOCABULARY["TL_END"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_architecture_is_ours_with_weights_of_that_kind(dtype: str, tmp_path: Path) -> None:
    cotorra.write_architecture(tmp_path, VOCABULARY, size="small", max_tokens=64, dtype=dtype)
    config = AutoConfig.from_pretrained(tmp_path)
    ours = llama_config(SIZES["small"], vocabulary=VOCABULARY, max_tokens=64)
    assert config.dtype == getattr(torch, dtype)
    differing = {key for key, value in ours.to_dict().items() if config.to_dict()[key] != value}
    assert differing <= {"dtype", "architectures", "_name_or_path"}


def test_tokens_of_interest_are_those_there_are_else_their_term_is_left_out() -> None:
    options: dict[str, Any] = {"size": "small", "max_tokens": 64}
    assert 'balanced_toi_loss.tokens_of_interest=["location/icu"]' in cotorra.settings(
        VOCABULARY, Path("model"), **options
    )
    without = {name: i for i, name in enumerate(name for name in VOCABULARY if name != "location/icu")}
    assert "~balanced_toi_loss" in cotorra.settings(without, Path("model"), **options)


# what is run


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program named cotorra beside a Python that notes its words and writes a report."""
    folder = tmp_path / "bin"
    folder.mkdir()
    python = folder / "python"
    python.write_text(
        f"""#!/bin/sh\nprintf '%s\\n' "$@" > "$3/words"\necho '{json.dumps(REPORT)}' > "$3/report.json"\n"""
    )
    for path in (python, folder / "cotorra"):
        path.touch()
        path.chmod(0o755)
    return folder / "cotorra"


def test_a_run_is_measured_by_its_clock(program: Path, tmp_path: Path) -> None:
    out = cotorra.measure(
        program,
        lists(40),
        lists(4),
        VOCABULARY,
        batch_tokens=16,
        steps=4,
        folder=tmp_path / "run",
        max_tokens=8,
    )
    assert (out.seconds_per_step, out.real_share, out.attended, out.version) == (3.0, 0.75, 2.5, "26.10.1")
    assert out.real_tokens_per_second == pytest.approx(16 * 0.75 / 3)
    assert out.fed_tokens_per_second == pytest.approx(16 / 3)
    assert 0 < out.peak_gb < 1
    words = (tmp_path / "run" / "words").read_text().splitlines()
    assert words[:2] == ["-m", "train.bench.clocked_cotorra"]
    assert words[3] == str(VOCABULARY["PAD"])
    assert {"training_args.per_device_train_batch_size=2", "training_args.max_steps=4"} <= set(words)


@pytest.mark.parametrize("name", ["cotorra-that-is-nowhere", sys.executable])
def test_what_is_not_cotorra_is_refused_with_the_way_to_install_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not the program of cotorra.*pip install torch==2\.13\.0 cotorra"):
        cotorra.measure(
            name, lists(40), lists(4), VOCABULARY, batch_tokens=8, steps=2, folder=tmp_path, max_tokens=8
        )


@pytest.mark.parametrize(
    ("batch_tokens", "said"), [(12, "not a number of rows of 8"), (48, "less than a batch")]
)
def test_a_batch_that_cannot_be_made_is_refused(
    batch_tokens: int, said: str, program: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        cotorra.measure(
            program,
            lists(40),
            lists(4),
            VOCABULARY,
            batch_tokens=batch_tokens,
            steps=2,
            folder=tmp_path / "run",
            max_tokens=8,
        )


# the clock beside it


class Rows(list[dict[str, np.ndarray]]):
    """As much of a Hugging Face dataset as is asked for."""

    def with_format(self, _: str) -> Rows:
        return self

    def __getitem__(self, index: Any) -> Any:
        chosen = super().__getitem__(index)
        if isinstance(index, slice):
            return {"input_ids": np.stack([row["input_ids"] for row in chosen])}
        return chosen


@pytest.mark.parametrize(
    ("positions", "attended"), [([0, 1, 2, 3], 2.5), ([0, 1, 7, 8], 1.5), ([0, 2, 4, 6], 1)]
)
def test_the_report_says_what_was_fed_and_what_is_attended_to(
    positions: list[int], attended: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = LlamaForCausalLM(llama_config(SIZES["tiny"], vocabulary=VOCABULARY, max_tokens=8))
    rows = Rows({"input_ids": np.array(row)} for row in ([3, 5, 6, 4], [3, 5, 4, 0], [3, 4, 0, 0]))

    def app(command: list[str], *, standalone_mode: bool) -> None:
        assert (command, standalone_mode) == (["train", "-p", "somewhere"], False)
        clock = trainer.DEFAULT_CALLBACKS[-1]()
        clock.on_train_begin(model=model)
        for _ in range(3):
            model(input_ids=torch.tensor([[3, 5, 6, 4]]), position_ids=torch.tensor([positions]))
            clock.on_step_end()
        clock.on_train_end(train_dataloader=types.SimpleNamespace(dataset=rows))

    for name in ("WANDB_MODE", "HF_HUB_OFFLINE", "HF_HOME"):
        monkeypatch.setenv(name, "as it was")
    monkeypatch.setattr(trainer, "DEFAULT_CALLBACKS", list(trainer.DEFAULT_CALLBACKS))
    monkeypatch.setattr(clocked_cotorra, "version", lambda _: "26.10.1")
    monkeypatch.setitem(sys.modules, "cotorra", types.ModuleType("cotorra"))
    monkeypatch.setitem(sys.modules, "cotorra.cli", types.SimpleNamespace(app=app))
    clocked_cotorra.main([str(tmp_path), "0", "train", "-p", "somewhere"])
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["rows"], report["row_tokens"], report["padding"]) == (3, 4, 3)
    assert report["attended"] == attended
    assert len(report["step_seconds"]) == 3
    assert cotorra.measured(report, batch_tokens=12, peak_gb=1.0).real_share == pytest.approx(0.75)
