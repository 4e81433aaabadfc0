"""Training and reading states run where only torch, transformers, numpy and safetensors are installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BARE = """
import sys

ABSENT = ("polars", "pyarrow", "sklearn", "scipy", "umap", "streamlit", "plotly", "numba", "clifpy",
          "statsmodels", "pandas", "tensorboardX")
sys.modules.update(dict.fromkeys(ABSENT))  # None: as if it were not installed
"""
TRAIN = """
import numpy as np
from pathlib import Path
from ehrfm_core.model.pretrain import pretrain
from ehrfm_core.model.settings import Execution, PretrainSettings
from ehrfm_core.ragged import Ragged
lists = Ragged.from_lengths(np.arange(400) % 7, np.full(40, 10))
words = {"PAD": 0, "TL_START": 1, "TL_END": 2, "a": 3, "b": 4, "c": 5, "d": 6}
settings = PretrainSettings(steps=2, max_tokens=16, pack_tokens=64, batch_tokens=128)
run = pretrain(lists, lists, words, settings, Execution(folder=Path(sys.argv[1])))
assert (Path(sys.argv[1]) / "run.json").is_file()
print("loss", run.tuning_loss)
"""
BENCH = """
from train.__main__ import main
sys.exit(main(["bench", "training", "--ladder", "--size", "tiny", "--steps", "1", "--longest", "64",
               "--batch-tokens", "128", "--no-compile"]))
"""
EMBED = """
import numpy as np
from pathlib import Path
from transformers import LlamaForCausalLM
from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.shards import read_out_in_shards
from ehrfm_core.model.sizes import SIZES, llama_config
from ehrfm_core.ragged import Ragged
import train.bench.own_pass, train.bench.embedding
words = {"PAD": 0, "TL_START": 1, "TL_END": 2, "a": 3, "b": 4, "c": 5, "d": 6}
model = LlamaForCausalLM(llama_config(SIZES["tiny"], vocabulary=words, max_tokens=16))
windows = Ragged.from_lengths(np.arange(400) % 7, np.full(40, 10))
minutes = Ragged((windows.positions * 30).astype(np.float32), windows.offsets)
out = read_out_in_shards(Forward(model), windows, minutes, folder=Path(sys.argv[1]), identity="a", hours=24)
assert np.isfinite(out.states).all()
print("packed", len(out.states))
"""


@pytest.mark.parametrize("program", [TRAIN, BENCH, EMBED], ids=["training", "benchmark", "reading"])
def test_it_needs_nothing_else(program: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", BARE + program, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "loss" in done.stdout or "packed" in done.stdout
