from __future__ import annotations

import pytest
import torch

from ehrfm_core.model import hardware
from ehrfm_core.model.hardware import DATA_SHEETS, bf16_pays, flops_per_token, memory_gb, peak
from tests.model.made import llama


@pytest.mark.parametrize("tied", [True, False])
def test_operations_are_those_counted_by_hand(tied: bool) -> None:
    model = llama(kv_heads=2, tied=tied)
    query, key, value, out = 32 * 32, 32 * 16, 32 * 16, 32 * 32
    layer = query + key + value + out + 3 * 32 * 64
    norms = 5 * 32  # two a layer and the last, counted as if they multiplied
    multiplied = 2 * layer + 32 * model.config.vocab_size + norms
    attention = 2 * 2 * 32 * 20 * 2  # scores and sums, a product and a sum each, 20 tokens back, 2 layers
    wanted = 3 * (2 * multiplied + attention)  # backward costs twice what forward does
    parameters = sum(p.numel() for p in model.parameters())
    assert flops_per_token(model.config, parameters, 20) == wanted


def test_a_name_within_another_comes_after_it() -> None:
    names = list(DATA_SHEETS)
    for place, name in enumerate(names):
        assert not any(earlier in name for earlier in names[:place]), name


@pytest.mark.parametrize(
    ("name", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA H100 NVL", 835.5),
        ("NVIDIA H200", 989.4),
        ("NVIDIA A100-SXM4-80GB", 312.0),
        ("NVIDIA L40S", 362.05),
        ("NVIDIA L4", 121.0),
    ],
)
def test_the_peak_of_a_known_card_is_its_data_sheets(
    name: str, tflops: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: name)
    found = peak.__wrapped__("cuda", bf16=True)
    assert found.tflops == tflops
    assert "data sheet" in found.source


@pytest.mark.parametrize(("name", "bf16"), [("A card of next year", True), ("NVIDIA H100 PCIe", False)])
def test_any_other_peak_is_measured(name: str, bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: name)
    monkeypatch.setattr(hardware, "_measured", lambda device, dtype: 7.0 if dtype.itemsize == 4 else 8.0)
    found = peak.__wrapped__("cuda", bf16=bf16)
    assert (found.tflops, found.source) == (8.0 if bf16 else 7.0, "measured matrix product")


def test_this_machine_can_be_asked() -> None:
    assert isinstance(bf16_pays("cpu"), bool)
    assert "thread" in hardware.device_name("cpu")
    assert 0.05 < memory_gb("cpu") < 1_000
    assert 1e-4 < hardware._measured("cpu", torch.float32, side=256, seconds=0.02) < 100
