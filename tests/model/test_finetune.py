from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.readouts import LinearReadouts
from ehrfm_core.dynamics.states import last_states
from ehrfm_core.errors import UserError
from ehrfm_core.model.area import area
from ehrfm_core.model.finetune import Finetuned, FinetuneSettings, finetune
from ehrfm_core.model.labelled import Labelled, LabelledEpochs
from ehrfm_core.model.lora import add_lora, merge_lora
from ehrfm_core.model.sizes import Size, llama_config
from ehrfm_core.model.thinning import Roles
from ehrfm_core.ragged import Ragged
from ehrfm_core.tokens.vocabulary import build

VOCABULARY = build({f"lab/{i}" for i in range(8)}, n_bins=4)
MINI = Size(32, 64, 2, 4, 4, 8, 5e-3, 512, 128, 1_000, 14)
HOT, WARM = 12, 14  # tokens that make the two outcomes


def make_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(llama_config(MINI, vocabulary=VOCABULARY, max_tokens=64)).eval()


def stays(n: int, seed: int, *, before: int = 0) -> Labelled:
    """Outcome 0: HOT stands early in the window. Outcome 1: WARM does, unknown for a third of the stays."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(9, 24, n)
    values = rng.integers(15, len(VOCABULARY), lengths.sum())
    windows = Ragged.from_lengths(values, lengths)
    labels = (rng.random((n, 2)) < 0.4).astype(np.float32)
    for k, token in enumerate((HOT, WARM)):
        values[windows.offsets[:-1][labels[:, k] > 0] + 2 + 2 * k] = token
    labels[rng.random(n) < 1 / 3, 1] = np.nan
    context = Ragged.from_lengths(rng.integers(5, 12, n * before), np.full(n, before))
    return Labelled(windows, labels, context if before else None, prefix=2)


START = make_model()
rng_ = np.random.default_rng(0)
HEAD = LinearReadouts(("death", "icu"), rng_.normal(size=(32, 2)) * 0.01, np.zeros(2))
TRAIN, TUNING, TEST = stays(300, 1), stays(120, 2), stays(200, 3)
FAST = FinetuneSettings(epochs=8, learning_rate=3e-3, pack_tokens=512, patience=8)


def area_of(run: Finetuned, data: Labelled, k: int) -> float:
    counts = np.isfinite(data.labels[:, k])
    return area(data.labels[counts, k] > 0.5, run.logits(data)[counts, k])


@pytest.fixture(scope="module")
def tuned() -> Finetuned:
    return finetune(START, HEAD, TRAIN, TUNING, FAST)


def test_what_a_probe_cannot_read_is_learnt(tuned: Finetuned) -> None:
    before = Finetuned(START, HEAD, 0)
    for k in range(2):
        assert area_of(before, TEST, k) < 0.7
        assert area_of(tuned, TEST, k) > 0.9
    assert tuned.best_epoch > 0
    aucs = [point["tuning_auc"] for point in tuned.curve]
    assert max(aucs) == aucs[tuned.best_epoch]


def test_the_start_is_left_as_it_is_and_the_seed_is_all(tuned: Finetuned) -> None:
    fresh = make_model()
    for one, other in zip(START.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(one, other)
    again = finetune(START, HEAD, TRAIN, TUNING, FAST)
    assert again.curve == tuned.curve
    assert np.array_equal(again.logits(TEST), tuned.logits(TEST))
    assert START.config._attn_implementation == fresh.config._attn_implementation


def test_epoch_0_is_the_probe() -> None:
    data = stays(20, 5, before=4)
    states = last_states(Forward(START), data.windows, context=data.context)
    assert Finetuned(START, HEAD, 0).logits(data) == pytest.approx(states @ HEAD.weight + HEAD.bias)


def test_windows_are_thinned_in_training_alone(tuned: Finetuned) -> None:
    data = replace(TRAIN, roles=Roles.of(VOCABULARY))
    settings = replace(FAST, thinning=0.3)
    run, again = (finetune(START, HEAD, data, TUNING, settings) for _ in range(2))
    assert run.curve == again.curve
    assert run.curve[0] == tuned.curve[0]
    assert run.curve[1]["loss"] != tuned.curve[1]["loss"]
    assert area_of(run, TEST, 0) > 0.8


def test_an_epoch_holds_every_stay_once_and_fewer_events() -> None:
    data = replace(TRAIN, roles=Roles.of(VOCABULARY))
    tokens = {}
    for share in (0.0, 0.9):
        epochs = LabelledEpochs(data, pack_tokens=512, cuts="random", seed=0, thinning=share)
        batches = epochs.batches(1, "cpu")
        assert len(batches) == epochs.n_packs
        labels = torch.cat([batch[3] for batch in batches]).nan_to_num(-1).numpy()
        assert sorted(map(tuple, labels)) == sorted(map(tuple, np.nan_to_num(TRAIN.labels, nan=-1)))
        assert all(((begins <= rows) & (rows < len(pack[0]))).all() for pack, begins, rows, _ in batches)
        tokens[share] = sum(int((pack[0] != 0).sum()) for pack, *_ in batches)
    assert tokens[0.0] == len(TRAIN.windows.values)
    assert 0.4 < tokens[0.9] / tokens[0.0] < 0.75


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_told(share: float) -> None:
    with pytest.raises(UserError, match="is no share of events"):
        replace(FAST, thinning=share)


@pytest.mark.parametrize("method", ["all", "lora"])
def test_no_change_is_one_of_the_results(method: str) -> None:
    """A rate that ruins the model: what comes out is what went in."""
    ruin = FinetuneSettings(method=method, epochs=2, learning_rate=0.5, pack_tokens=512)
    good = finetune(START, HEAD, TRAIN, TUNING, FAST)
    run = finetune(good.model, good.head, TRAIN, TUNING, ruin)
    assert run.best_epoch == 0
    assert np.array_equal(run.logits(TEST), good.logits(TEST))


def test_low_rank_learns_and_leaves_plain_matrices() -> None:
    settings = FinetuneSettings(method="lora", epochs=12, learning_rate=1e-2, pack_tokens=512, patience=12)
    run, again = (finetune(START, HEAD, TRAIN, TUNING, settings) for _ in range(2))
    assert np.array_equal(run.logits(TEST), again.logits(TEST))
    assert area_of(run, TEST, 0) > 0.8
    assert run.model.state_dict().keys() == START.state_dict().keys()
    embedding = "model.embed_tokens.weight"
    assert torch.equal(run.model.state_dict()[embedding], START.state_dict()[embedding])
    changed = run.model.model.layers[0].mlp.up_proj.weight - START.model.layers[0].mlp.up_proj.weight
    assert 0 < torch.linalg.matrix_rank(changed.detach().double(), atol=1e-5) <= settings.rank


def test_a_low_rank_that_is_merged_computes_the_same() -> None:
    model = make_model()
    added = add_lora(model.model, rank=4, seed=0)
    with torch.no_grad():
        for parameter in added:
            parameter.add_(torch.randn_like(parameter) * 0.05)
    tokens = torch.arange(5, len(VOCABULARY))[None]
    with torch.no_grad():
        before = model(tokens).logits
        merge_lora(model.model)
        assert torch.allclose(model(tokens).logits, before, atol=1e-5)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_stays_that_count_for_nothing_change_nothing() -> None:
    labels = TRAIN.labels.copy()
    labels[::2] = np.nan
    with_them = Labelled(TRAIN.windows, labels, None, 2)
    short = FinetuneSettings(epochs=1, learning_rate=1e-3, pack_tokens=512)
    one, other = (
        finetune(START, HEAD, data, TUNING, short) for data in (with_them, with_them.take(with_them.counted))
    )
    assert np.array_equal(one.logits(TEST), other.logits(TEST))


def test_random_cuts_make_risks_within_the_window_readable() -> None:
    """Both outcomes are told by the fourth event, but only a model trained there need know it there."""
    early = Labelled(TEST.windows.cut(TEST.windows.offsets[:-1], TEST.windows.offsets[:-1] + 8), TEST.labels)
    settings = FinetuneSettings(epochs=8, learning_rate=3e-3, pack_tokens=512, patience=8, cuts="random")
    random = finetune(START, HEAD, TRAIN, TUNING, settings)
    assert area_of(random, early, 0) > 0.85


def test_context_is_read_before_the_window() -> None:
    data = stays(150, 7, before=5)
    run = finetune(START, HEAD, data, stays(60, 8, before=5), FinetuneSettings(epochs=1, pack_tokens=512))
    without = Labelled(data.windows, data.labels, None, 2)
    assert not np.allclose(run.logits(data), run.logits(without))


def test_without_a_tuning_auc_the_start_comes_out() -> None:
    nobody = Labelled(TUNING.windows, np.zeros_like(TUNING.labels))
    for tuning in (nobody, TUNING.take(np.array([], dtype=np.int64))):
        run = finetune(START, HEAD, TRAIN, tuning, FAST)
        assert run.best_epoch == 0
        assert np.array_equal(run.logits(TEST), Finetuned(START, HEAD, 0).logits(TEST))


def test_nobody_to_train_on_and_unknown_settings() -> None:
    empty = Labelled(TRAIN.windows, np.full_like(TRAIN.labels, np.nan))
    with pytest.raises(UserError, match="nothing to fine-tune on"):
        finetune(START, HEAD, empty, TUNING, FAST)
    with pytest.raises(UserError, match="method 'other' is none of all, lora"):
        FinetuneSettings(method="other")
