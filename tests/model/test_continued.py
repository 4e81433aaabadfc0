from __future__ import annotations

import copy

import pytest
import torch

from ehrfm_core.errors import UserError
from ehrfm_core.model.continued import check_vocabularies, grown
from ehrfm_core.model.pretrain import Pretrained, pretrain
from ehrfm_core.ragged import Ragged
from tests.model.made import FP32, VOCABULARY, llama, mini, timelines

BATCH = torch.arange(5, 25)[None]
HAD = len(VOCABULARY)
MORE = VOCABULARY | {f"lab/new_{i}": HAD + i for i in range(3)}


@pytest.mark.parametrize("tied", [True, False])
def test_old_rows_stay_and_new_ones_are_their_mean(tied: bool) -> None:
    before, after = llama(tied=tied), grown(llama(tied=tied), vocabulary_size=HAD + 3)
    assert after.config.vocab_size == HAD + 3
    assert after.config.tie_word_embeddings is tied
    assert (after.lm_head.weight is after.model.embed_tokens.weight) is tied
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        old, new = before.get_parameter(name), after.get_parameter(name)
        assert new.shape == (HAD + 3, 32)
        assert torch.equal(new[:HAD], old)
        torch.testing.assert_close(new[HAD:], old.mean(dim=0).expand(3, -1))
        assert new.requires_grad
    rest = {name: p for name, p in before.named_parameters() if p.shape[0] != HAD}
    assert all(torch.equal(after.get_parameter(name), p) for name, p in rest.items())


@pytest.mark.parametrize("tied", [True, False])
def test_nothing_is_forgotten(tied: bool) -> None:
    before, after = llama(tied=tied), grown(llama(tied=tied), vocabulary_size=HAD + 3)
    with torch.no_grad():
        logits = after(BATCH).logits
        torch.testing.assert_close(logits[..., :HAD], before(BATCH).logits, rtol=1e-5, atol=1e-6)
        hidden = [model.model(BATCH).last_hidden_state for model in (before, after)]
        new = after(torch.full((1, 4), HAD + 1)).logits
    assert torch.equal(*hidden)
    assert torch.isfinite(new).all()
    torch.testing.assert_close(logits[..., HAD], before(BATCH).logits.mean(dim=-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [HAD, HAD - 4])
def test_without_new_tokens_it_is_the_same_model(size: int) -> None:
    after = grown(llama(), vocabulary_size=size)
    assert torch.equal(after.lm_head.weight, llama().lm_head.weight)


def test_a_vocabulary_that_begins_like_the_first_is_gone_on_from() -> None:
    check_vocabularies(VOCABULARY, MORE, name="first")
    check_vocabularies(VOCABULARY, VOCABULARY, name="first")


@pytest.mark.parametrize(
    "here",
    [
        {name: i for name, i in VOCABULARY.items() if name != "lab/3"},
        VOCABULARY | {"lab/3": HAD},
        VOCABULARY | {"lab/3": VOCABULARY["lab/4"], "lab/4": VOCABULARY["lab/3"]},
    ],
)
def test_a_token_of_another_id_is_refused(here: dict[str, int]) -> None:
    n = sum(here.get(name) != i for name, i in VOCABULARY.items())
    with pytest.raises(UserError, match=f"^{n} tokens of /first, 'lab/3' among them, have another id"):
        check_vocabularies(VOCABULARY, here, name="/first")


def with_new_tokens(seed: int) -> Ragged:
    lists = timelines(60, seed, noise=0)
    lists.values[lists.values >= 20] += HAD - 20  # tokens the first hospital had no name for
    lists.values[lists.values >= HAD + 3] = 5
    return lists


@pytest.fixture(scope="module")
def first() -> Pretrained:
    return pretrain(timelines(60, 0), timelines(10, 1), VOCABULARY, mini(), FP32)


def test_training_goes_on_from_what_was_learnt(first: Pretrained) -> None:
    train, tuning = with_new_tokens(2), with_new_tokens(3)
    start = grown(copy.deepcopy(first.model), vocabulary_size=len(MORE))
    on = pretrain(train, tuning, MORE, mini(), FP32, start=start)
    anew = pretrain(train, tuning, MORE, mini(steps=10), FP32)
    losses = [point["tuning_loss"] for point in on.curve]
    assert losses[-1] < 0.7 * losses[0]
    assert losses[0] < anew.curve[0]["tuning_loss"]
    embedded = on.model.model.embed_tokens.weight
    assert embedded.shape[0] == len(MORE)
    assert on.model.lm_head.weight is embedded
    assert (embedded[HAD : HAD + 2] - embedded[:HAD].mean(dim=0)).norm(dim=1).min() > 0.01  # they were learnt


def test_longer_sequences_than_the_first_model_knew_are_read_whole() -> None:
    start = llama(max_tokens=16)
    settings = mini(steps=1, max_tokens=32)
    done = pretrain(timelines(60, 0), timelines(10, 1), VOCABULARY, settings, FP32, start=start)
    assert done.model.config.max_position_embeddings == 32
