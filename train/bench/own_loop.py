"""Our own training loop as the product runs it, timed from its own history.

    python -m train.bench.own_loop ARRAYS --size small --steps N [--batch-tokens N] [--precision bf16|fp32]

ARRAYS is a folder of token arrays with a vocabulary.json. Needs torch, transformers, numpy and safetensors
alone.
The last line of its output is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ehrfm_core.model.history import METRICS, read_run
from ehrfm_core.model.pretrain import pretrain
from ehrfm_core.model.settings import Execution, PretrainSettings
from ehrfm_core.ragged import Ragged

NOTHING = Ragged(np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64))


def measure(
    arrays: Path, settings: PretrainSettings, *, device: str, precision: str | None, compile_: bool | None
) -> dict[str, Any]:
    """Train without looking at a tuning split; rates of real tokens, medians over lines after the first."""
    train = Ragged(
        np.load(arrays / "train" / "tokens.npy", mmap_mode="r"), np.load(arrays / "train" / "offsets.npy")
    )
    vocabulary = json.loads((arrays / "vocabulary.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="ehrfm-bench-") as folder:
        execution = Execution(
            device=device, precision=precision, compile=compile_, folder=Path(folder), save_seconds=1e9
        )
        pretrain(train, NOTHING, vocabulary, settings, execution)
        lines = [json.loads(line) for line in (Path(folder) / METRICS).read_text().splitlines()]
        about = read_run(Path(folder))
    later = lines[1:] or lines
    rates = [line["tokens_per_second"] for line in later]
    batch = about["settings"]["batch_tokens"]
    return {
        "tokens_per_second": statistics.median(rates),
        "seconds_per_step": lines[-1]["tokens"] / lines[-1]["step"] / statistics.median(rates),
        "real_share": lines[-1]["tokens"] / (lines[-1]["step"] * batch),
        "mfu": statistics.median(line["mfu"] for line in later),
        "loss": lines[-1]["loss"],
        "parameters": about["parameters"],
        "precision": about["precision"],
        "peak": f"{about['peak_tflops']:g} TFLOP/s ({about['peak_source']})",
        "device": about["device"],
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m train.bench.own_loop")
    parser.add_argument("arrays", type=Path)
    parser.add_argument("--size", default="small")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--batch-tokens", type=int)
    parser.add_argument("--pack-tokens", type=int)
    parser.add_argument("--max-tokens", type=int, default=1024)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=["bf16", "fp32"])
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, dest="compile_")
    options = parser.parse_args()
    settings = PretrainSettings(
        size=options.size,
        steps=options.steps,
        max_tokens=options.max_tokens,
        batch_tokens=options.batch_tokens,
        pack_tokens=options.pack_tokens,
    )
    report = measure(
        options.arrays,
        settings,
        device=options.device,
        precision=options.precision,
        compile_=options.compile_,
    )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
