"""Who takes part in `python -m train bench training`, and on what."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ehrfm_core.model.feed import Feed
from ehrfm_core.model.hardware import bf16_pays
from ehrfm_core.model.packing import Pieces, make_pack
from ehrfm_core.model.settings import Plan, PretrainSettings
from ehrfm_core.model.sizes import SIZES, llama_config
from ehrfm_core.ragged import Ragged
from ehrfm_core.study.reader import Study, open_study
from ehrfm_core.study.token_arrays import read_token_arrays, write_token_arrays
from ehrfm_core.tokens.window import to_ragged
from train.bench import cotorra
from train.bench.packs import write_packs
from train.bench.process import run as run_process
from train.bench.turns import OURS

ROOT = Path(__file__).parents[2]
DEFAULT_STUDY = ROOT / "data_samples/studies/demo-two-hospitals"
SPLITS = ("train", "tuning")
Figures = dict[str, Any]
Tools = dict[str, Callable[[Path], Figures]]


def contestants(options: argparse.Namespace, folder: Path) -> tuple[Tools, str]:
    """Functions that train in an empty folder and return their figures, by name; and what they train on.

    Raises UserError where a program that was named is not there.
    """
    study = open_study(options.study or DEFAULT_STUDY)
    vocabulary = study.tokenizer()["vocabulary"]
    arrays = folder / "arrays"
    write_token_arrays(study, study.manifest.source, SPLITS, arrays)
    (arrays / "vocabulary.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    splits = [read_token_arrays(arrays, split) for split in SPLITS]
    batch = options.batch_tokens or SIZES[options.size].batch_tokens
    precision = options.precision or ("bf16" if bf16_pays("cpu") else "fp32")
    own = partial(_own, arrays=arrays, options=options, batch=batch, precision=precision)
    tools: Tools = {OURS: partial(own, compiled=False)}
    if options.compile:
        tools[f"{OURS}, compiled"] = partial(own, compiled=True)
    if options.cotorra:
        cotorra.find_python(options.cotorra)
        measure = partial(
            _cotorra, options=options, splits=splits, study=study, vocabulary=vocabulary, batch=batch
        )
        for dtype in ("float32", "bfloat16"):
            tools[f"cotorra train, {dtype} weights"] = partial(measure, dtype=dtype)
    if options.trainer:
        packs = folder / "packs.safetensors"
        per_step = _write_packs(packs, splits[0], vocabulary, options, batch)
        tools["transformers Trainer, our packs"] = partial(
            _trainer, options=options, packs=packs, per_step=per_step, precision=precision
        )
    n_tokens, n_stays = len(splits[0].values), len(splits[0])
    about = f"{n_tokens:,} tokens of {n_stays:,} stays of {study.manifest.source}, {batch:,} tokens a step"
    return tools, about


def _own(
    _: Path, *, arrays: Path, options: argparse.Namespace, batch: int, precision: str, compiled: bool
) -> Figures:
    command = [sys.executable, "-m", "train.bench.own_loop", arrays, "--size", options.size]
    command += ["--steps", str(options.steps), "--batch-tokens", str(batch), "--precision", precision]
    command += ["--compile" if compiled else "--no-compile"]
    done = run_process(command, folder=ROOT)
    return json.loads(done.output.splitlines()[-1]) | {"peak_gb": done.peak_gb}


def _cotorra(
    place: Path,
    *,
    options: argparse.Namespace,
    splits: list[Ragged],
    study: Study,
    vocabulary: dict[str, int],
    batch: int,
    dtype: str,
) -> Figures:
    train, tuning = (Ragged(np.asarray(part.values, dtype=np.int64), part.offsets) for part in splits)
    found = cotorra.measure(
        options.cotorra,
        train,
        tuning,
        vocabulary,
        batch_tokens=batch,
        steps=options.steps,
        folder=place,
        minutes=_minutes(study, train, tuning),
        size=options.size,
        dtype=dtype,
    )
    return {
        "tokens_per_second": found.real_tokens_per_second,
        "seconds_per_step": found.seconds_per_step,
        "real_share": found.real_share,
        "attended": found.attended,
        "precision": "bf16 throughout" if dtype == "bfloat16" else "fp32",
        "peak_gb": found.peak_gb,
    }


def _minutes(study: Study, train: Ragged, tuning: Ragged) -> tuple[Ragged, Ragged]:
    """When the tokens of the two splits happened, as cotorra's positions want it."""
    site = study.manifest.source
    stays = study.site_table(site, "stays").select("hospitalization_id", "split")
    frame = study.site_table(site, "timelines").join(stays, on="hospitalization_id", maintain_order="left")
    found = [to_ragged(frame.filter(pl.col("split") == split)["minutes"], np.float32) for split in SPLITS]
    for minutes, tokens in zip(found, (train, tuning), strict=True):
        assert np.array_equal(minutes.offsets, tokens.offsets), "minutes and tokens belong together"
    return found[0], found[1]


def _trainer(_: Path, *, options: argparse.Namespace, packs: Path, per_step: int, precision: str) -> Figures:
    command = [options.trainer, "-m", "train.bench.hf_trainer", packs, "--steps", str(options.steps)]
    command += ["--packs-per-step", str(per_step), "--precision", precision]
    done = run_process(command, folder=ROOT)
    found = json.loads(done.output.splitlines()[-1])
    return found | {"peak_gb": done.peak_gb, "real_share": 1.0, "precision": precision}


def _write_packs(
    path: Path, train: Ragged, vocabulary: dict[str, int], options: argparse.Namespace, batch: int
) -> int:
    """Write the packs that our loop trains on; how many make a step."""
    settings = PretrainSettings(size=options.size, batch_tokens=batch)
    pieces = Pieces.of(train, max_tokens=settings.max_tokens)
    plan = Plan.of(settings, n_tokens=pieces.n_tokens)
    feed = Feed(pieces, pack_tokens=plan.pack_tokens, packs_per_step=plan.packs_per_step, seed=settings.seed)
    chosen = [pack for _ in range(options.steps) for pack in feed.next_step()]
    packs = [make_pack(pieces, indices, pad=vocabulary["PAD"], pad_to=plan.pack_tokens) for indices in chosen]
    config = llama_config(SIZES[options.size], vocabulary=vocabulary, max_tokens=settings.max_tokens)
    write_packs(path, packs, config.to_dict())
    return plan.packs_per_step
