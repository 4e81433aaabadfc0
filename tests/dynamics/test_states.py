from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.readouts import LinearReadouts
from ehrfm_core.dynamics.states import ReadOut, last_states, last_token_at_hours, read_out
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


PREFIX = 3
rng_ = np.random.default_rng(5)
READOUTS = LinearReadouts(
    ("death", "icu"), rng_.normal(size=(MODEL.config.hidden_size, 2)) / 8, rng_.normal(size=2)
)


def run(tokens: Ragged, minutes: Ragged, **options: int) -> ReadOut:
    forward = Forward(MODEL, readouts=READOUTS)
    return read_out(forward, tokens, minutes, hours=24, prefix=PREFIX, **options)


def reference(tokens: np.ndarray) -> np.ndarray:
    """Last hidden states (T × D) by the library's own way, one stay alone."""
    with torch.no_grad():
        out = MODEL(torch.from_numpy(tokens)[None], output_hidden_states=True)
    return out.hidden_states[-1][0].numpy().astype(np.float64)


def test_everything_equals_an_independent_computation() -> None:
    tokens, minutes = windows([3, 40, 17, 90])
    out = run(tokens, minutes)
    for i in range(len(tokens)):
        states = reference(tokens[i])
        steps = np.diff(states, axis=0)
        lengths = np.linalg.norm(steps, axis=1)
        assert out.jumps[i][0] == 0
        assert np.allclose(out.jumps[i][1:], lengths, rtol=1e-4)
        assert np.allclose(out.states[i], states[-1], atol=1e-5)
        assert np.isclose(out.displacement[i], np.linalg.norm(states[-1] - states[0]), rtol=1e-4)
        from_prefix = np.linalg.norm(states[-1] - states[PREFIX - 1])
        assert np.isclose(out.event_displacement[i], from_prefix, rtol=1e-4, atol=1e-6)
        at = np.array([np.flatnonzero(minutes[i] <= hour * 60)[-1] for hour in range(25)])
        assert np.allclose(out.hourly[i], states[at], atol=2e-3)  # half precision
        grid = np.linalg.norm(np.diff(states[at], axis=0), axis=1)
        assert np.allclose(out.hourly_steps[i], grid, rtol=1e-4, atol=1e-5)
        straight = np.linalg.norm(states[-1] - states[at[0]])
        assert np.isclose(out.hourly_displacement[i], straight, rtol=1e-4, atol=1e-5)
        cosines = (steps[1:] * steps[:-1]).sum(axis=1) / (lengths[1:] * lengths[:-1])
        angles = np.degrees(np.arccos(cosines))[PREFIX - 2 :]  # of tokens PREFIX and later
        if len(angles):
            assert np.isclose(out.turn[i], angles.mean(), rtol=1e-4)
        else:
            assert np.isnan(out.turn[i])
        risks = out.risks[out.jumps.offsets[i] : out.jumps.offsets[i + 1]]
        assert np.allclose(risks, states @ READOUTS.weight + READOUTS.bias, atol=5e-3)


def test_information_of_each_token_is_its_log_probability() -> None:
    tokens, minutes = windows([12, 30])
    out = run(tokens, minutes)
    for i in range(2):
        with torch.no_grad():
            logits = MODEL(torch.from_numpy(tokens[i])[None]).logits[0].double()
        nats = -torch.log_softmax(logits, -1)[:-1].gather(1, torch.from_numpy(tokens[i][1:, None]))[:, 0]
        assert np.allclose(out.information[i][1:], nats.numpy(), atol=1e-4)


def test_states_alone_are_those_of_the_whole_pass() -> None:
    tokens, minutes = windows([3, 40, 1, 90])
    assert np.allclose(last_states(Forward(MODEL), tokens), run(tokens, minutes).states, atol=1e-5)


def test_half_the_precision_moves_little() -> None:
    """bfloat16 as in training: half a percent of a state, less of a sum of jumps."""
    tokens, minutes = windows([60, 40, 90])
    half = read_out(Forward(MODEL, bf16=True), tokens, minutes, hours=24)
    whole = read_out(Forward(MODEL), tokens, minutes, hours=24)
    error = np.linalg.norm(half.states - whole.states, axis=1) / np.linalg.norm(whole.states, axis=1)
    assert error.max() < 0.02
    for i in range(3):
        assert half.jumps[i].sum() == pytest.approx(whole.jumps[i].sum(), rel=0.01)


def test_the_model_is_left_as_it_was() -> None:
    before = MODEL.config._attn_implementation
    run(*windows([5]))
    assert MODEL.config._attn_implementation == before


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
    together, apart = run(tokens, minutes, pack_tokens=10_000), run(tokens, minutes, pack_tokens=1)
    assert np.allclose(together.states, apart.states, atol=1e-5)
    assert np.allclose(together.jumps.values, apart.jumps.values, atol=1e-4)
    order = np.array([2, 0, 3, 1])
    shuffled = run(tokens.take(order), minutes.take(order))
    assert np.allclose(shuffled.states, together.states[order], atol=1e-5)


def test_a_window_of_one_token() -> None:
    out = run(*windows([1]))
    assert out.jumps.values.tolist() == [0]
    assert np.isnan(out.information.values).all()
    assert np.allclose(out.hourly[0, 0], out.states[0], atol=2e-3)
    assert np.isnan(out.turn).all()
    assert out.event_displacement[0] == out.displacement[0] == 0


def test_hours_without_events_keep_the_last_state() -> None:
    minutes = Ragged.from_lengths(np.array([0, 0, 150, 0, 60]), np.array([3, 2]))
    assert last_token_at_hours(minutes, hours=3).tolist() == [[1, 1, 1, 2], [0, 1, 1, 1]]


def test_what_stands_before_a_window_is_read_and_not_kept() -> None:
    whole, minutes = windows([60, 30, 9])
    cut = np.array([25, 0, 4])
    context = whole.cut(whole.offsets[:-1], whole.offsets[:-1] + cut)
    window = whole.cut(whole.offsets[:-1] + cut, whole.offsets[1:])
    times = minutes.cut(minutes.offsets[:-1] + cut, minutes.offsets[1:])
    times = Ragged(np.maximum(times.values - times.values[times.offsets[:-1]][times.rows], 0), times.offsets)
    for pack_tokens in (10_000, 1):
        out = read_out(
            Forward(MODEL, readouts=READOUTS),
            window,
            times,
            hours=24,
            prefix=PREFIX,
            context=context,
            pack_tokens=pack_tokens,
        )
        assert np.allclose(out.states, last_states(Forward(MODEL), window, context=context), atol=1e-5)
        assert (out.jumps.offsets == window.offsets).all()
        for i in range(3):
            states = reference(whole[i])[cut[i] :]
            jumps = np.linalg.norm(np.diff(states, axis=0), axis=1)
            assert out.jumps[i][0] == 0
            assert np.isnan(out.information[i][0])
            assert np.allclose(out.jumps[i][1:], jumps, rtol=1e-4)
            assert np.allclose(out.states[i], states[-1], atol=1e-5)
            assert np.isclose(out.displacement[i], np.linalg.norm(states[-1] - states[0]), rtol=1e-4)
            assert np.allclose(out.hourly[i, -1], states[-1], atol=2e-3)
    alone = run(window, times)
    assert np.allclose(alone.states[1], out.states[1], atol=1e-5)  # nothing stood before it
    assert not np.allclose(alone.states[0], out.states[0], atol=1e-2)
