from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.dynamics.measures import hourly_measures, path_measures
from ehrfm_core.dynamics.states import ReadOut
from ehrfm_core.ragged import Ragged


def made(jumps: Ragged, information: Ragged, hourly_steps: np.ndarray, **given: np.ndarray) -> ReadOut:
    n = len(jumps)
    flat = {
        name: given.get(name, np.zeros(n))
        for name in ("turn", "displacement", "event_displacement", "hourly_displacement")
    }
    states = np.zeros((n, 1), dtype=np.float32)
    hourly = np.zeros((n, hourly_steps.shape[1] + 1, 1), dtype=np.float16)
    return ReadOut(states, hourly, hourly_steps, jumps, information, np.zeros((len(jumps.values), 0)), **flat)


def two_stays() -> tuple[ReadOut, Ragged]:
    jumps = Ragged.from_lengths(np.array([0, 3, 4, 1, 2, 0], dtype=np.float32), np.array([5, 1]))
    information = Ragged(np.array([np.nan, 1, 2, 3, 6, np.nan], dtype=np.float32), jumps.offsets)
    minutes = Ragged(np.array([0, 0, 60, 120, 720, 0], dtype=np.float32), jumps.offsets)
    steps = np.zeros((2, 24), dtype=np.float32)
    steps[0, [1, 11]] = 1, 2
    out = made(
        jumps,
        information,
        steps,
        displacement=np.array([5.0, 0.0]),
        event_displacement=np.array([1.5, 0.0]),
        hourly_displacement=np.array([2.0, 0.0]),
        turn=np.array([75.0, np.nan]),
    )
    return out, minutes


def test_measures_by_hand() -> None:
    out, minutes = two_stays()
    first, second = path_measures(["a", "b"], out, minutes, prefix=3, hours=24).to_dicts()
    assert (first["path_length"], first["max_jump"], first["mean_jump"]) == (10, 4, 2.5)
    assert (first["displacement"], first["tortuosity"]) == (5, 2)
    assert (first["event_path_length"], first["event_max_jump"], first["max_jump_minute"]) == (3, 2, 720)
    assert (first["mean_event_jump"], first["event_displacement"], first["event_tortuosity"]) == (1.5, 1.5, 2)
    assert (first["speed_per_hour"], first["mean_information"]) == (3 / 24, 3)
    assert (first["hourly_path_length"], first["hourly_max_step"]) == (3, 2)
    assert (first["hourly_displacement"], first["hourly_tortuosity"]) == (2, 1.5)
    assert first["direction_change"] == 75
    for column in ("path_length", "event_path_length", "max_jump", "hourly_path_length", "hourly_max_step"):
        assert second[column] == 0
    nothing = "mean_jump tortuosity event_max_jump max_jump_minute mean_information mean_event_jump"
    for column in f"{nothing} event_tortuosity hourly_tortuosity direction_change".split():
        assert second[column] is None, column


def test_hours_by_hand() -> None:
    out, minutes = two_stays()
    frame = hourly_measures(out, minutes, prefix=2)
    assert frame.height == 2 * 25
    first = frame.head(25)
    assert first["step"][0] is None
    assert first["step"][2] == 1
    # of the tokens after the prefix, minute 60 is within hour 1, 120 within hour 2, 720 within hour 12
    assert {h: v for h, v in enumerate(first["travelled"]) if v} == {1: 4, 2: 1, 12: 2}
    assert {h: v for h, v in enumerate(first["n_events"]) if v} == {1: 1, 2: 1, 12: 1}
    assert frame.tail(25)["travelled"].sum() == 0


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(1, 6), st.integers(0, 99))
def test_what_is_travelled_sums_to_the_path(lengths: list[int], prefix: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    jumps = Ragged.from_lengths(rng.random(sum(lengths)).astype(np.float32), np.array(lengths))
    times = [np.concatenate([[0], np.sort(rng.integers(0, 1441, k - 1))]) for k in lengths]
    minutes = Ragged(np.concatenate(times).astype(np.float32), jumps.offsets)
    out = made(jumps, jumps, rng.random((len(lengths), 24)).astype(np.float32))
    frame = path_measures([str(i) for i in range(len(lengths))], out, minutes, prefix=prefix, hours=24)
    hours = hourly_measures(out, minutes, prefix=prefix)
    assert hours["travelled"].sum() == pytest.approx(frame["event_path_length"].sum(), rel=1e-5)
    assert hours["n_events"].sum() == sum(max(0, k - prefix) for k in lengths)
    sums = [float(jumps[i].astype(np.float64).sum()) for i in range(len(lengths))]
    assert frame["path_length"].to_list() == pytest.approx(sums, rel=1e-12)


def test_a_state_that_never_changes_goes_nowhere() -> None:
    """A model whose layers are nil and whose embeddings are all alike."""
    import torch
    from transformers import LlamaForCausalLM

    from ehrfm_core.dynamics.forward import Forward
    from ehrfm_core.dynamics.states import read_out
    from tests.model.made import llama

    model: LlamaForCausalLM = llama()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.fill_(0.5 if "embed" in name else 0.0)
    tokens = Ragged.from_lengths(np.arange(1, 9), np.array([5, 3]))
    minutes = Ragged(np.array([0, 0, 60, 61, 900, 0, 5, 6], dtype=np.float32), tokens.offsets)
    out = read_out(Forward(model), tokens, minutes, hours=24)
    frame = path_measures(["a", "b"], out, minutes, prefix=1, hours=24)
    for column in ("path_length", "max_jump", "displacement", "hourly_path_length", "event_path_length"):
        assert frame[column].to_list() == [0, 0], column
    for column in ("tortuosity", "event_tortuosity", "hourly_tortuosity", "direction_change"):
        assert frame[column].to_list() == [None, None], column
