"""`python -m train bench embedding`: tokens a second of the pass over windows, ours and cotorra's."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaForCausalLM

from ehrfm_core.errors import UserError
from ehrfm_core.model.hardware import bf16_pays
from ehrfm_core.model.sizes import SIZES, llama_config
from ehrfm_core.ragged import Ragged
from train.bench.turns import HEADER, OURS, Figures, row, take_turns

ROOT = Path(__file__).parents[2]
DEFAULT_STUDY = ROOT / "data_samples/studies/demo-two-hospitals"


def run(options: argparse.Namespace) -> int:
    """Measure and print; the exit status. Raises UserError where a program fails."""
    if options.device == "cuda":
        return _alone(options)
    with tempfile.TemporaryDirectory(prefix="ehrfm-bench-") as temporary:
        folder = Path(temporary)
        tools, about = _contestants(options, folder)
        figures = take_turns(tools, repeats=options.repeats, folder=folder)
    print(json.dumps({"about": about, "runs": figures}, indent=1)) if options.json else _print(figures, about)
    return 0


def _contestants(
    options: argparse.Namespace, folder: Path
) -> tuple[dict[str, Callable[[Path], Figures]], str]:
    from ehrfm_core.study.reader import open_study
    from train.bench import cotorra, cotorra_extract

    study = open_study(options.study or DEFAULT_STUDY)
    vocabulary = study.tokenizer()["vocabulary"]
    windows, minutes = _some_windows(study, options.tokens)
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (
        ("tokens", windows.values),
        ("minutes", minutes.values),
        ("offsets", windows.offsets),
    ):
        np.save(folder / f"{name}.npy", array)
    checkpoints = {dtype: folder / f"model-{dtype}" for dtype in ("float32", "bfloat16")}
    torch.manual_seed(0)
    model = LlamaForCausalLM(llama_config(SIZES[options.size], vocabulary=vocabulary, max_tokens=1024))
    for dtype, path in checkpoints.items():
        model.to(getattr(torch, dtype)).save_pretrained(path)
    precisions = ["bf16", "fp32"] if bf16_pays("cpu") else ["fp32"]
    tools: dict[str, Callable[[Path], Figures]] = {}
    for precision in precisions:
        name = OURS if precision == precisions[0] else f"{OURS}, {precision}"
        tools[name] = partial(_own, arrays=folder, checkpoint=checkpoints["float32"], precision=precision)
    if options.cotorra:
        cotorra.find_python(options.cotorra)
        for dtype, checkpoint in checkpoints.items():
            for everything in (False, True):
                what = "all states, information" if everything else "last state alone"
                tools[f"cotorra extract, {what}, {dtype}"] = partial(
                    _theirs,
                    measure=cotorra_extract.measure,
                    program=options.cotorra,
                    windows=windows,
                    minutes=minutes,
                    vocabulary=vocabulary,
                    checkpoint=checkpoint,
                    everything=everything,
                )
    about = f"{options.size}; {len(windows.values):,} tokens of {len(windows):,} stays of {study.name}"
    return tools, about


def _some_windows(study: Any, n_tokens: int) -> tuple[Ragged, Ragged]:
    """Windows of random stays of all sites, at most so many tokens but at least one stay; ids and minutes."""
    from ehrfm_core.study.windows import read_windows
    from ehrfm_core.tokens.tokenizer import Tokenizer

    tokenizer = Tokenizer.from_json(study.tokenizer())
    sites = [read_windows(study, site, tokenizer) for site in study.sites]
    both = [
        Ragged.from_lengths(
            np.concatenate([x.values for x in lists]), np.concatenate([x.lengths for x in lists])
        )
        for lists in ([site.tokens for site in sites], [site.minutes for site in sites])
    ]
    order = np.random.default_rng(0).permutation(len(both[0]))
    fits = np.cumsum(both[0].lengths[order]) <= n_tokens
    chosen = order[: max(1, int(fits.sum()))]
    return both[0].take(chosen), both[1].take(chosen)


def _own(_: Path, *, arrays: Path, checkpoint: Path, precision: str) -> Figures:
    from train.bench.process import run as run_process

    command = [sys.executable, "-m", "train.bench.own_pass", str(arrays), str(checkpoint)]
    command += ["--precision", precision]
    done = run_process(command, folder=ROOT)
    return json.loads(done.output.splitlines()[-1]) | {"peak_gb": done.peak_gb}


def _theirs(
    place: Path, *, measure: Callable[..., Any], windows: Ragged, checkpoint: Path, **more: Any
) -> Figures:
    minutes, vocabulary = more.pop("minutes"), more.pop("vocabulary")
    found = measure(more.pop("program"), windows, minutes, vocabulary, checkpoint, folder=place, **more)
    return {
        "tokens_per_second": len(windows.values) / found.seconds,
        "peak_gb": found.peak_gb,
        "bytes_per_stay": found.bytes_per_stay,
        "precision": checkpoint.name.removeprefix("model-"),
    }


def _print(figures: dict[str, list[Figures]], about: str) -> None:
    first = figures[OURS][0]
    print(f"{about}; {first['parameters']:,} parameters; {first['device']}; peak {first['peak']}.\n")
    print(HEADER.format(rate="tokens/s", own="bytes a stay"))
    for name, runs in figures.items():
        print(row(name, runs, figures[OURS], own=f"{runs[0]['bytes_per_stay']:,.0f}", digits=1))
    print(
        f"\nours: MFU {statistics.median(found['mfu'] for found in figures[OURS]):.0%} of the peak named. "
        "Bytes a stay of ours: shards with everything, hourly states too."
    )


def _alone(options: argparse.Namespace) -> int:
    """On a GPU: our pass alone on made-up windows, by the tokens of a pack."""
    from train.bench.ladder import VOCABULARY, VOCABULARY_SIZE
    from train.bench.own_pass import measure

    if not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no GPU that torch can use; leave --device out.")
    rng = np.random.default_rng(0)
    model = LlamaForCausalLM(llama_config(SIZES[options.size], vocabulary=VOCABULARY, max_tokens=1024))
    model = model.to("cuda").eval()  # type: ignore[arg-type]
    lengths = np.clip(np.exp(rng.normal(np.log(256), 0.9, max(8, options.tokens // 350))), 16, 1024).astype(
        int
    )
    values = rng.integers(3, VOCABULARY_SIZE, int(lengths.sum()))
    windows = Ragged.from_lengths(values, lengths)
    # hours pass evenly from the first token to the last
    minutes = Ragged(
        (windows.positions / np.repeat(lengths, lengths) * 1440).astype(np.float32), windows.offsets
    )
    print("| tokens a pack | tokens/s | MFU | GB |\n|---|---|---|---|")
    for pack_tokens in (8_192, 32_768, 131_072):
        found = measure(
            model,
            windows,
            minutes,
            device="cuda",
            bf16=True,
            pack_tokens=pack_tokens,
            repeats=options.repeats,
        )
        print(
            f"| {pack_tokens:,} | {found['tokens_per_second']:,.0f} | {found['mfu']:.0%} "
            f"| {found['memory_gb']:.1f} |",
            flush=True,
        )
    print(f"\n{options.size}, {found['parameters']:,} parameters; {found['device']}; peak {found['peak']}.")
    return 0
