"""`cotorra train` as it is, with a clock beside it.

    python -m train.bench.clocked_cotorra FOLDER PAD train …

runs cotorra's own command line in its own environment and writes FOLDER/report.json: what the clock said,
how many rows of how many tokens its loader made, how many of these tokens are PAD, and how many tokens one
attends to in the mean, as read from the mask that the first layer got in the first step. All it adds is a
callback in transformers' list of those that every Trainer has.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROWS_AT_ONCE = 1_000


def main(words: list[str]) -> None:
    """Run; words are the folder, the id of PAD and cotorra's own arguments."""
    folder, pad, *command = words
    os.environ.update(WANDB_MODE="disabled", HF_HUB_OFFLINE="1", HF_HOME=str(Path(folder) / "cache"))
    from cotorra.cli import app  # these read the environment, so not at the top
    from transformers import trainer

    from train.bench.clock import Clock

    class Reporter(Clock):
        """A clock that looks at the first step's mask and, when all is done, at the loader's rows."""

        def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
            self.attended: list[float] = []
            layer = kwargs["model"].model.layers[0]
            self.hook = layer.register_forward_pre_hook(self.look, with_kwargs=True)
            super().on_train_begin()

        def look(self, _: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
            self.hook.remove()
            mask, length = named.get("attention_mask"), positional[0].shape[1]
            self.attended.append((length + 1) / 2 if mask is None else float(mask.float().sum(-1).mean()))

        def on_train_end(self, *args: Any, **kwargs: Any) -> None:
            rows = kwargs["train_dataloader"].dataset.with_format("numpy")
            parts = (rows[i : i + ROWS_AT_ONCE]["input_ids"] for i in range(0, len(rows), ROWS_AT_ONCE))
            report = {
                "version": version("cotorra"),
                "step_seconds": self.step_seconds,
                "rows": len(rows),
                "row_tokens": len(rows[0]["input_ids"]),
                "padding": int(sum((part == int(pad)).sum() for part in parts)),
                "attended": self.attended[0],
            }
            (Path(folder) / "report.json").write_text(json.dumps(report), encoding="utf-8")

    callbacks: list[Any] = trainer.DEFAULT_CALLBACKS
    callbacks.append(Reporter)
    app(command, standalone_mode=False)


if __name__ == "__main__":
    main(sys.argv[1:])
