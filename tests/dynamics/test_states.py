from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics.measures import path_measures
from ehrfm_core.dynamics.states import ReadOut, last_token_at_hours, read_out
from ehrfm_core.model.packing import Pieces
from ehrfm_core.model.scorer import mean_loss
from ehrfm_core.model.sizes import SIZES, llama_config
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.vocabulary import build

VOCABULARY = build({f"lab/{i}" for i in range(10)}, n_bins=10)


def make_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(llama_config(SIZES["tiny"], vocabulary=VOCABULARY, max_tokens=128)).eval()


MODEL = make_model()


def windows(lengths: list[int], seed: int = 0) -> tuple[Ragged, Ragged]:
    rng = np.random.default_rng(seed)
    n = np.array(lengths)
    minutes = np.concatenate([np.concatenate([[0], np.sort(rng.uniform(0, 1440, k - 1))]) for k in lengths])
    return (
        Ragged.from_lengths(rng.integers(1, len(VOCABULARY), n.sum()), n),
        Ragged.from_lengths(minutes.astype(np.float32), n),
    )


def run(tokens: Ragged, minutes: Ragged, **options: int) -> ReadOut:
    return read_out(MODEL, tokens, minutes, hours=24, pad=VOCABULARY["PAD"], **options)  # type: ignore[arg-type]


def reference(tokens: np.ndarray) -> np.ndarray:
    """Last hidden states (T × D) by the library's own way, one stay alone."""
    with torch.no_grad():
        out = MODEL(torch.from_numpy(tokens)[None], output_hidden_states=True)
    return out.hidden_states[-1][0].numpy().astype(np.float64)


def test_jumps_states_and_hours_equal_an_independent_computation() -> None:
    tokens, minutes = windows([3, 40, 17, 90])
    out = run(tokens, minutes)
    for i in range(len(tokens)):
        states = reference(tokens[i])
        steps = np.linalg.norm(np.diff(states, axis=0), axis=1)
        assert out.jumps[i][0] == 0
        assert np.allclose(out.jumps[i][1:], steps, rtol=1e-4)
        assert np.allclose(out.states[i], states[-1], atol=1e-5)
        assert np.isclose(out.displacement[i], np.linalg.norm(states[-1] - states[0]), rtol=1e-4)
        for hour in range(25):
            last = np.flatnonzero(minutes[i] <= hour * 60)[-1]
            assert np.allclose(out.hourly[i, hour], states[last], atol=1e-5)
    assert np.array_equal(out.hourly[:, 24], out.states)


def test_mean_information_is_the_evaluation_loss() -> None:
    tokens, minutes = windows([30, 5, 64])
    out = run(tokens, minutes)
    assert all(np.isnan(out.information[i][0]) for i in range(3))
    mean = np.nanmean(out.information.values.astype(np.float64))
    assert mean == pytest.approx(mean_loss(MODEL, Pieces.of(tokens, max_tokens=64)), abs=1e-4)


@settings(max_examples=12, deadline=None)
@given(st.integers(2, 59), st.integers(0, 1000))
def test_nothing_after_a_token_changes_anything_before_it(cut: int, seed: int) -> None:
    tokens, minutes = windows([60], seed)
    changed = tokens.values.copy()
    changed[cut:] = np.random.default_rng(seed + 1).integers(1, len(VOCABULARY), 60 - cut)
    short = Ragged.from_lengths(tokens.values[:cut], np.array([cut]))
    short_minutes = Ragged.from_lengths(minutes.values[:cut], np.array([cut]))
    whole, other, alone = (
        run(tokens, minutes),
        run(Ragged(changed, tokens.offsets), minutes),
        run(short, short_minutes),
    )
    for out in (other, alone):
        assert np.allclose(out.jumps[0][:cut], whole.jumps[0][:cut], atol=1e-4)
        assert np.allclose(out.information[0][1:cut], whole.information[0][1:cut], atol=1e-4)


def test_who_else_is_in_the_batch_does_not_matter() -> None:
    tokens, minutes = windows([50, 12, 33, 90])
    together, apart = run(tokens, minutes, batch_tokens=10_000), run(tokens, minutes, batch_tokens=1)
    assert np.allclose(together.states, apart.states, atol=1e-5)
    assert np.allclose(together.jumps.values, apart.jumps.values, atol=1e-4)
    order = np.array([2, 0, 3, 1])
    shuffled = run(tokens.take(order), minutes.take(order))
    assert np.allclose(shuffled.states, together.states[order], atol=1e-5)


def test_a_window_of_one_token() -> None:
    out = run(*windows([1]))
    assert out.jumps.values.tolist() == [0]
    assert np.isnan(out.information.values).all()
    assert np.array_equal(out.hourly[0, 0], out.states[0])


def test_hours_without_events_keep_the_last_state() -> None:
    minutes = Ragged.from_lengths(np.array([0, 0, 150, 0, 60]), np.array([3, 2]))
    assert last_token_at_hours(minutes, hours=3).tolist() == [[1, 1, 1, 2], [0, 1, 1, 1]]


def test_measures_by_hand() -> None:
    jumps = Ragged.from_lengths(np.array([0, 3, 4, 1, 2, 0], dtype=np.float32), np.array([5, 1]))
    information = Ragged(np.array([np.nan, 1, 2, 3, 6, np.nan], dtype=np.float32), jumps.offsets)
    minutes = Ragged(np.array([0, 0, 60, 120, 720, 0], dtype=np.float32), jumps.offsets)
    out = ReadOut(np.zeros((2, 1)), np.zeros((2, 1, 1)), jumps, information, np.array([5.0, 0.0]))
    frame = path_measures(["a", "b"], out, minutes, prefix=3, hours=24)
    first, second = frame.to_dicts()
    assert (first["path_length"], first["max_jump"], first["mean_jump"]) == (10, 4, 2.5)
    assert (first["displacement"], first["tortuosity"]) == (5, 2)
    assert (first["event_path_length"], first["event_max_jump"], first["max_jump_minute"]) == (3, 2, 720)
    assert (first["speed_per_hour"], first["mean_information"]) == (3 / 24, 3)
    assert (second["path_length"], second["event_path_length"], second["max_jump"]) == (0, 0, 0)
    for column in ("mean_jump", "tortuosity", "event_max_jump", "max_jump_minute", "mean_information"):
        assert second[column] is None


def test_jumps_sum_to_the_path_length() -> None:
    tokens, minutes = windows([30, 5, 64])
    out = run(tokens, minutes)
    frame = path_measures(["a", "b", "c"], out, minutes, prefix=6, hours=24)
    sums = [float(out.jumps[i].astype(np.float64).sum()) for i in range(3)]
    assert frame["path_length"].to_list() == pytest.approx(sums, rel=1e-12)
    assert isinstance(frame, pl.DataFrame)
