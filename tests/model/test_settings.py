from __future__ import annotations

from dataclasses import fields
from itertools import pairwise
from typing import Any

import pytest

from ehrfm_core.model.settings import SCHEDULES, Execution, Plan, PretrainSettings
from ehrfm_core.model.sizes import SIZES

TOKENS = 10_000_000


def plan(n_tokens: int = TOKENS, **settings: Any) -> Plan:
    """A batch of 4,096 tokens in two packs, unless told otherwise, whatever the size's default is."""
    if "size" not in settings:
        settings = {"batch_tokens": 4_096, "pack_tokens": 2_048} | settings
    return Plan.of(PretrainSettings(**settings), n_tokens=n_tokens)


@pytest.mark.parametrize("size", ["tiny", "small", "medium", "1b"])
def test_a_size_brings_its_own_plan(size: str) -> None:
    wanted, found = SIZES[size], plan(size=size)
    assert found.size is wanted
    assert found.learning_rate == wanted.learning_rate
    assert found.pack_tokens == wanted.pack_tokens
    assert found.pack_tokens * found.packs_per_step == wanted.batch_tokens
    assert found.total_steps <= wanted.max_steps
    assert found.total_steps <= wanted.max_epochs * found.steps_per_epoch + 1


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"learning_rate": 3e-5}, {"learning_rate": 3e-5}),
        ({"batch_tokens": 65_536}, {"packs_per_step": 32}),
        ({"pack_tokens": 1_024}, {"pack_tokens": 1_024, "packs_per_step": 4}),
        ({"pack_tokens": 1_024, "batch_tokens": 9_000}, {"pack_tokens": 1_024, "packs_per_step": 9}),
        ({"batch_tokens": 1_500}, {"pack_tokens": 1_500, "packs_per_step": 1}),
        ({"max_tokens": 8_192}, {"pack_tokens": 8_192, "packs_per_step": 1}),
        ({"steps": 77}, {"total_steps": 77}),
        ({"steps": 77, "epochs": 3.0}, {"total_steps": 77}),
        ({"steps": 1_000_000}, {"total_steps": 1_000_000}),
        ({"epochs": 2.0}, {"total_steps": 4_883}),
        ({"epochs": 0.5}, {"total_steps": 1_221}),
        ({"steps": 1_000, "warmup_share": 0.2}, {"warmup_steps": 200}),
        ({"steps": 1_000, "warmup_share": 0.0}, {"warmup_steps": 1}),
        ({"steps": 1_000, "evaluations": 4}, {"evaluate_every": 250}),
        ({"steps": 1_000, "evaluations": 500, "steps_between": 7}, {"evaluate_every": 7}),
    ],
)
def test_every_override_counts(settings: dict[str, Any], found: dict[str, Any]) -> None:
    got, base = plan(**settings), plan()
    assert {name: getattr(got, name) for name in found} == found
    assert any(getattr(base, name) != value for name, value in found.items())


def test_steps_follow_from_epochs_and_tokens() -> None:
    assert plan(n_tokens=409_600).steps_per_epoch == 100
    assert plan(n_tokens=10_000).total_steps == 35  # 14 epochs of 2.44 steps
    assert plan(n_tokens=3).total_steps == 1
    assert plan(n_tokens=10**9).total_steps == SIZES["tiny"].max_steps
    assert plan(n_tokens=10**9, epochs=1.0).total_steps == 244_141


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("final_share", [0.0, 0.1, 0.5])
def test_the_rate_rises_in_a_line_then_falls_to_its_share(schedule: str, final_share: float) -> None:
    settings = PretrainSettings(steps=400, schedule=schedule, final_share=final_share, learning_rate=1e-3)
    of = Plan.of(settings, n_tokens=TOKENS)
    rates = [of.rate(step, settings) for step in range(of.total_steps)]
    top = of.warmup_steps
    assert rates[:top] == pytest.approx([1e-3 * (i + 1) / top for i in range(top)])
    assert rates[top] == 1e-3 == max(rates)
    assert all(later <= earlier for earlier, later in pairwise(rates[top:]))
    end = 1e-3 if schedule == "constant" else final_share * 1e-3
    assert of.rate(of.total_steps, settings) == pytest.approx(end, abs=1e-12)
    assert rates[-1] == pytest.approx(end, abs=3e-6)


@pytest.mark.parametrize(("schedule", "half", "quarter"), [("linear", 0.55, 0.775), ("cosine", 0.55, 0.868)])
def test_the_fall_has_its_shape(schedule: str, half: float, quarter: float) -> None:
    settings = PretrainSettings(steps=400, schedule=schedule, learning_rate=1.0)
    of = Plan.of(settings, n_tokens=TOKENS)
    assert of.rate(of.warmup_steps + 190, settings) == pytest.approx(half)
    assert of.rate(of.warmup_steps + 95, settings) == pytest.approx(quarter, abs=1e-3)


def test_settings_are_what_determines_the_weights_and_nothing_else() -> None:
    carried_out = {field.name for field in fields(Execution)}
    assert carried_out.isdisjoint({field.name for field in fields(PretrainSettings)})
    assert "device" in carried_out


def test_how_a_run_is_carried_out_follows_the_device() -> None:
    cpu, gpu = Execution(precision="fp32"), Execution(device="cuda:0", precision="bf16")
    assert (cpu.cuda, cpu.bf16, cpu.words, cpu.compiled) == (False, False, "fp32", False)
    assert (gpu.cuda, gpu.bf16, gpu.words, gpu.compiled) == (True, True, "bf16", True)
    assert Execution(compile=True).compiled
    assert not Execution(device="cuda", compile=False).compiled
