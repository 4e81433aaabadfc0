"""Stage 2: timelines of the source → checkpoint."""

from __future__ import annotations

import shutil
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from transformers import LlamaForCausalLM

from ehrfm_core import __version__
from ehrfm_core.errors import UserError
from ehrfm_core.model.checkpoint import load, save
from ehrfm_core.model.continued import check_vocabularies, grown
from ehrfm_core.model.entropy import simple_losses
from ehrfm_core.model.feed import some
from ehrfm_core.model.keeper import forget
from ehrfm_core.model.packing import Pieces
from ehrfm_core.model.pretrain import Pretrained
from ehrfm_core.model.pretrain import pretrain as fit
from ehrfm_core.model.settings import Execution, PretrainSettings
from ehrfm_core.model.state import sweep
from ehrfm_core.model.word_tokenizer import tokenizer_files
from ehrfm_core.ragged import Ragged
from ehrfm_core.study.files import fingerprint, read_json
from ehrfm_core.study.layout import CARD, MODEL, TOKENIZER, TRAINING
from ehrfm_core.study.manifest import Manifest
from ehrfm_core.study.reader import Study, open_study
from ehrfm_core.study.token_arrays import read_token_arrays, write_token_arrays
from ehrfm_core.study.writer import StageResult, inputs_of, is_current
from train.card import card_of
from train.devices import told_to_stop
from train.from_checkpoint import Checkpoint
from train.gate import check_information
from train.progress import progress_bar
from train.stages import run_stage

ARRAYS = f"{TRAINING}/arrays"


def pretrain(
    folder: Path,
    manifest: Manifest,
    settings: PretrainSettings,
    execution: Execution,
    checkpoint: Checkpoint | None = None,
) -> bool:
    """Run the stage: whole stays of the source's training split, stopped on its tuning split.

    In a group of processes each calls this; the first one writes. Raises KeyboardInterrupt, with a sentence,
    where it was told to stop.
    """
    stored: dict[str, Any] = asdict(settings) | {"version": __version__}
    if checkpoint:
        stored["from"] = checkpoint.recorded
    inputs = inputs_of(folder, manifest, "pretrain")
    current = partial(is_current, folder, manifest, "pretrain", stored, inputs)
    if checkpoint and checkpoint.folder is None and not current():
        raise UserError(
            f"The model of {folder} begins as the checkpoint of study {checkpoint.name}, which is needed to "
            "train it: give --from with the folder of that study."
        )
    execution = replace(execution, folder=folder / TRAINING, identity=fingerprint([stored, inputs]))
    with told_to_stop(execution.group) as stop:
        work = partial(_work, folder, manifest, settings, replace(execution, stop=stop), checkpoint)
        if not execution.group.first:
            if not current():
                work(None)
            return True
        ran = run_stage(folder, manifest, "pretrain", settings=stored, inputs=inputs, work=work)
        _tidy(folder)
        forget(folder / TRAINING)  # not before the stage is on record
    return ran


def _work(
    folder: Path,
    manifest: Manifest,
    settings: PretrainSettings,
    execution: Execution,
    checkpoint: Checkpoint | None,
    staged: Path | None,
) -> StageResult:
    """Train; the first process writes into `staged`, the others have nothing to write."""
    study, group = open_study(folder), execution.group
    vocabulary: dict[str, int] = study.tokenizer()["vocabulary"]
    if group.first:
        _tidy(folder)
        write_token_arrays(study, manifest.source, ("train", "tuning"), folder / ARRAYS)
    group.wait()
    train, tuning = (read_token_arrays(folder / ARRAYS, split) for split in ("train", "tuning"))
    simple = _simple_losses(train, tuning, settings, len(vocabulary)) if group.first else {}
    about = {
        **{f"{split}_stays": _n_stays(study, manifest.source, split) for split in ("train", "tuning")},
        "starts_from": checkpoint.name if checkpoint else None,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **simple,
    }
    start = _grown(checkpoint, vocabulary) if checkpoint else None
    with progress_bar("pretrain", " steps") if group.first else nullcontext() as bar:
        told = replace(execution, progress=bar)
        trained = fit(train, tuning, vocabulary, settings, told, start=start, about=about)
    group.wait()  # what the others have read, the first one may remove
    if staged is None:
        return StageResult()
    result = StageResult()
    if len(tuning):
        held_out = Pieces.of(tuning, max_tokens=settings.max_tokens)
        difference = check_information(
            trained.model,
            held_out,
            device=execution.device,
            seed=settings.seed,
            bf16=execution.bf16,
        )
        result.summary["information_difference"] = difference
    result.summary |= _summary(trained, train, execution.device, simple)
    result.notes += _notes(trained, simple)
    _write(study, staged, trained, settings, about, checkpoint, result)
    files = [f"{MODEL}/{path.name}" for path in sorted((staged / MODEL).iterdir())]
    result.files += [path for path in files if path != CARD]
    return result


def _n_stays(study: Study, site: str, split: str) -> int:
    return study.site_table(site, "stays").filter(pl.col("split") == split).height


def _tidy(folder: Path) -> None:
    """Remove what a run that was killed has left, but for the state that it can go on from."""
    shutil.rmtree(folder / ARRAYS, ignore_errors=True)
    sweep(folder / TRAINING)


def _grown(checkpoint: Checkpoint, vocabulary: dict[str, int]) -> LlamaForCausalLM:
    """The checkpoint's model with a row for every token of the vocabulary."""
    assert checkpoint.folder is not None, "or the stage would not run"
    theirs = read_json(checkpoint.folder / TOKENIZER)["vocabulary"]
    check_vocabularies(theirs, vocabulary, name=str(checkpoint.folder))
    return grown(load(checkpoint.folder / MODEL, device="cpu"), vocabulary_size=len(vocabulary))


def _simple_losses(
    train: Ragged, tuning: Ragged, settings: PretrainSettings, vocabulary_size: int
) -> dict[str, float | None]:
    losses: dict[str, float | None] = {"uniform_nats": float(np.log(vocabulary_size))}
    pieces = [Pieces.of(lists, max_tokens=settings.max_tokens) for lists in (train, tuning)]
    if not all(len(part) for part in pieces):
        return losses | {"unigram_nats": None, "bigram_nats": None}
    held_out = some(pieces[1], at_most=settings.tuning_tokens, seed=settings.seed)
    alone, paired = simple_losses(pieces[0], held_out, vocabulary_size=vocabulary_size)
    return losses | {"unigram_nats": alone, "bigram_nats": paired}


def _summary(
    trained: Pretrained, train: Ragged, device: str, simple: dict[str, float | None]
) -> dict[str, Any]:
    return {
        "parameters": trained.parameters,
        "device": device,
        "precision": trained.precision,
        "learning_rate": trained.plan.learning_rate,
        "batch_tokens": trained.plan.pack_tokens * trained.plan.packs_per_step,
        "train_tokens": len(train.values),
        "steps": trained.steps,
        "best_step": trained.best_step,
        "epochs": round(trained.epochs, 2),
        "tuning_loss": trained.tuning_loss,
        **simple,
        "curve": trained.curve,
    }


def _notes(trained: Pretrained, simple: dict[str, float | None]) -> list[str]:
    loss, unigram, bigram = trained.tuning_loss, simple["unigram_nats"], simple["bigram_nats"]
    if loss is None or unigram is None or bigram is None:
        return ["The tuning split is empty: the model was not stopped early and its loss is unknown."]
    notes = [
        f"Tuning loss {loss:.3f} nats a token; guessing from token frequencies gives {unigram:.3f}, from "
        f"pairs of tokens {bigram:.3f}."
    ]
    if loss >= unigram:
        notes.append("The model does not beat token frequencies: train longer before reading states.")
    elif loss >= bigram:
        notes.append("The model does not beat pairs of tokens: train longer before reading states.")
    return notes


def _write(
    study: Study,
    staged: Path,
    trained: Pretrained,
    settings: PretrainSettings,
    about: dict[str, Any],
    checkpoint: Checkpoint | None,
    result: StageResult,
) -> None:
    """The best weights into model/ with tokenizer and card, the last ones into training/last."""
    beside = tokenizer_files(study.tokenizer()["vocabulary"], max_tokens=settings.max_tokens)
    beside["study_tokenizer.json"] = (study.folder / TOKENIZER).read_text(encoding="utf-8")
    beside[Path(CARD).name] = card_of(study, settings, about, checkpoint, result)
    save(trained.model, staged / MODEL, beside)
    save(trained.last, study.folder / TRAINING / "last")
