from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from ehrfm_core.model.attention import LONGEST_BY_PRODUCTS, bounds_tensor, per_stay_attention

HEADS, WIDTH = 4, 8
stays = st.lists(st.integers(1, 7), min_size=1, max_size=5)


def products(n: int, key_heads: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(1, heads, n, WIDTH) for heads in (HEADS, key_heads, key_heads)]
    return [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]


def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: list[int]) -> torch.Tensor:
    bounds = bounds_tensor(np.cumsum([0, *lengths]), fixed=False)
    out, weights = per_stay_attention(torch.nn.Identity(), query, key, value, None, stays=bounds)
    assert weights is None
    return out


@pytest.mark.parametrize("key_heads", [4, 2, 1])
@given(lengths=stays)
@settings(max_examples=20)
def test_it_is_masked_attention_over_the_pack(key_heads: int, lengths: list[int]) -> None:
    query, key, value = products(sum(lengths), key_heads)
    stay = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    place = torch.arange(len(stay))
    seen = (stay[:, None] == stay[None]) & (place[None] <= place[:, None])
    grouped = (x.repeat_interleave(HEADS // key_heads, dim=1) for x in (key, value))
    scores = query @ next(grouped).transpose(2, 3) / WIDTH**0.5
    wanted = functional.softmax(scores.masked_fill(~seen, -torch.inf), dim=-1) @ next(grouped)
    out = attend(query, key, value, lengths)
    assert out.shape == (1, len(stay), HEADS, WIDTH)
    torch.testing.assert_close(out, wanted.transpose(1, 2), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("key_heads", [4, 1])
@given(lengths=stays)
@settings(max_examples=10)
def test_in_bfloat16_it_is_the_same_to_rounding(key_heads: int, lengths: list[int]) -> None:
    exact = products(sum(lengths), key_heads)
    rounded = attend(*(x.to(torch.bfloat16) for x in exact), lengths)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), attend(*exact, lengths), rtol=0, atol=0.06)


def test_in_bfloat16_a_stay_too_long_for_its_scores_takes_the_other_way() -> None:
    exact = products(LONGEST_BY_PRODUCTS + 6, 2)
    lengths = [5, LONGEST_BY_PRODUCTS + 1]
    rounded = attend(*(x.to(torch.bfloat16) for x in exact), lengths)
    torch.testing.assert_close(rounded.float(), attend(*exact, lengths), rtol=0, atol=0.06)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(lengths=stays)
@settings(max_examples=10)
def test_a_token_hangs_on_its_stays_earlier_tokens_and_on_no_other(
    dtype: torch.dtype, lengths: list[int]
) -> None:
    query, key, value = products(sum(lengths), 2, dtype=dtype)
    key.requires_grad_()
    value.requires_grad_()
    out = attend(query, key, value, lengths)
    stay = np.repeat(np.arange(len(lengths)), lengths)
    for i in range(len(stay)):
        for gradient in torch.autograd.grad(out[0, i].square().sum(), (key, value), retain_graph=True):
            others = np.arange(len(stay))
            hidden = (stay != stay[i]) | (others > i)
            assert gradient[0][:, hidden].eq(0).all()
    last = torch.autograd.grad(out[0, -1].sum(), value)[0]  # the weights, none of them nil
    assert last[0][:, stay == stay[-1]].ne(0).all()


def test_stays_of_no_token_fill_the_bounds_and_change_nothing() -> None:
    bounds = bounds_tensor(np.array([0, 3, 5]), fixed=True)
    assert bounds.dtype == torch.int32
    assert bounds[:4].tolist() == [0, 3, 5, 5]
    x = products(5, 2)
    filled, _ = per_stay_attention(torch.nn.Identity(), *x, None, stays=bounds)
    assert torch.equal(filled, attend(*x, [3, 2]))


@pytest.mark.parametrize(("n", "length"), [(1, 128), (127, 128), (128, 256), (300, 512)])
def test_bounds_come_in_few_lengths(n: int, length: int) -> None:
    assert len(bounds_tensor(np.arange(n + 1), fixed=True)) == length
    assert len(bounds_tensor(np.arange(n + 1), fixed=False)) == n + 1


def test_a_mask_is_refused() -> None:
    with pytest.raises(AssertionError, match="place of a mask"):
        per_stay_attention(
            torch.nn.Identity(), *products(2, 2), torch.ones(1), stays=torch.tensor([0, 2], dtype=torch.int32)
        )
