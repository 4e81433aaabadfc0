"""Stage 2: timelines of the source → checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ehrfm_core import __version__
from ehrfm_core.clif.tables import ID
from ehrfm_core.model.batches import segments
from ehrfm_core.model.checkpoint import save
from ehrfm_core.model.entropy import bigram_loss, unigram_loss
from ehrfm_core.model.pretrain import PretrainSettings
from ehrfm_core.model.pretrain import pretrain as fit
from ehrfm_core.ragged import Ragged
from ehrfm_core.study.layout import MODEL
from ehrfm_core.study.manifest import Manifest
from ehrfm_core.study.reader import open_study
from ehrfm_core.study.writer import StageResult, inputs_of
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import to_ragged
from train.progress import progress_bar
from train.stages import run_stage


def pretrain(folder: Path, manifest: Manifest, settings: PretrainSettings, *, device: str) -> bool:
    """Run the stage: whole stays of the source's training split, stopped on its tuning split."""
    stored = asdict(settings) | {"version": __version__}

    def work() -> StageResult:
        study = open_study(folder)
        tokenizer = Tokenizer.from_json(study.tokenizer())
        frame = study.site_table(manifest.source, "timelines").join(
            study.site_table(manifest.source, "stays").select(ID, "split"), on=ID
        )
        train, tuning = (_lists(frame, split) for split in ("train", "tuning"))
        with progress_bar("pretrain", " steps") as progress:
            model = fit(train, tuning, tokenizer.vocabulary, settings, device=device, progress=progress)
        save(model.model, folder / MODEL)
        notes = []
        summary: dict[str, Any] = {
            "parameters": model.parameters,
            "device": device,
            "train_tokens": len(train.values),
            "steps": model.steps,
            "best_step": model.best_step,
            "epochs": round(model.epochs, 2),
            "tuning_loss": model.tuning_loss,
            "uniform_nats": float(np.log(len(tokenizer.vocabulary))),
            "curve": model.curve,
        }
        if len(tuning):
            size = len(tokenizer.vocabulary)
            pieces = [segments(lists, max_tokens=settings.max_tokens) for lists in (train, tuning)]
            summary["unigram_nats"] = unigram_loss(pieces[0], pieces[1], vocabulary_size=size)
            summary["bigram_nats"] = bigram_loss(pieces[0], pieces[1], vocabulary_size=size)
            notes.append(
                f"Tuning loss {model.tuning_loss:.3f} nats a token; guessing from token frequencies gives "
                f"{summary['unigram_nats']:.3f}, from pairs of tokens {summary['bigram_nats']:.3f}."
            )
            if model.tuning_loss is None or model.tuning_loss >= summary["unigram_nats"]:
                notes.append("The model does not beat token frequencies: train longer before reading states.")
        else:
            notes.append(
                "The tuning split is empty: the model was not stopped early and its loss is unknown."
            )
        files = [f"{MODEL}/{path.name}" for path in sorted((folder / MODEL).iterdir())]
        return StageResult(files, notes, summary)

    inputs = inputs_of(folder, manifest, "pretrain")
    return run_stage(folder, manifest, "pretrain", settings=stored, inputs=inputs, work=work)


def _lists(frame: pl.DataFrame, split: str) -> Ragged:
    return to_ragged(frame.filter(pl.col("split") == split).sort(ID)["tokens"], np.int64)
