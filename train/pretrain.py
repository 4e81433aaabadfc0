"""Stage 2: timelines of the source → checkpoint."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ehrfm_core import __version__
from ehrfm_core.errors import UserError
from ehrfm_core.model.checkpoint import load, save
from ehrfm_core.model.continued import check_vocabularies, grown
from ehrfm_core.model.entropy import simple_losses
from ehrfm_core.model.feed import some
from ehrfm_core.model.keeper import forget
from ehrfm_core.model.packing import Pieces
from ehrfm_core.model.pretrain import Pretrained, StoppedError
from ehrfm_core.model.pretrain import pretrain as fit
from ehrfm_core.model.settings import Execution, PretrainSettings
from ehrfm_core.model.word_tokenizer import tokenizer_files
from ehrfm_core.ragged import Ragged
from ehrfm_core.study.files import fingerprint, read_json, sha256
from ehrfm_core.study.layout import MODEL, TOKENIZER
from ehrfm_core.study.manifest import Manifest, read_manifest
from ehrfm_core.study.reader import Study, open_study
from ehrfm_core.study.token_arrays import read_token_arrays, write_token_arrays
from ehrfm_core.study.writer import StageResult, inputs_of, is_current
from train.card import card_of
from train.gate import check_information
from train.progress import progress_bar
from train.stages import run_stage

TRAINING = "training"
CARD = "README.md"  # dated, so no part of what must be the same for the same seed


def pretrain(
    folder: Path,
    manifest: Manifest,
    settings: PretrainSettings,
    execution: Execution,
    *,
    start_from: Path | None = None,
) -> bool:
    """Run the stage: whole stays of the source's training split, stopped on its tuning split.

    In a group of processes each calls this; the first one writes.
    """
    first, settings = _first_study(folder, start_from, manifest, settings)
    stored: dict[str, Any] = asdict(settings) | {"version": __version__}
    if first is not None:
        stored["from"] = first
    inputs = inputs_of(folder, manifest, "pretrain")
    execution = replace(execution, folder=folder / TRAINING, identity=fingerprint([stored, inputs]))

    def work() -> StageResult:
        with _told_to_stop() as stop, progress_bar("pretrain", " steps") as bar:
            shown = bar if execution.group.first else None
            return _work(
                folder, manifest, settings, replace(execution, stop=stop, progress=shown), start_from
            )

    if not execution.group.first:
        if not is_current(folder, manifest, "pretrain", stored, inputs):
            work()
        return True
    ran = run_stage(folder, manifest, "pretrain", settings=stored, inputs=inputs, work=work)
    forget(folder / TRAINING)  # not before the stage is on record
    return ran


def _work(
    folder: Path,
    manifest: Manifest,
    settings: PretrainSettings,
    execution: Execution,
    start_from: Path | None,
) -> StageResult:
    study, arrays = open_study(folder), folder / TRAINING / "arrays"
    vocabulary: dict[str, int] = study.tokenizer()["vocabulary"]
    if execution.group.first:
        write_token_arrays(study, manifest.source, ("train", "tuning"), arrays)
    execution.group.wait()
    train, tuning = (read_token_arrays(arrays, split) for split in ("train", "tuning"))
    simple = _simple_losses(train, tuning, settings, len(vocabulary))
    about = {
        "train_stays": len(train),
        "tuning_stays": len(tuning),
        "starts_from": start_from.resolve().name if start_from else None,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **simple,
    }
    start = None
    if start_from is not None:
        start = grown(load(start_from / MODEL, device="cpu"), vocabulary_size=len(vocabulary))
    trained = fit(train, tuning, vocabulary, settings, execution, start=start, about=about)
    if not execution.group.first:
        return StageResult()
    result = StageResult()
    if len(tuning):
        held_out = Pieces.of(tuning, max_tokens=settings.max_tokens)
        difference = check_information(trained.model, held_out, device=execution.device, seed=settings.seed)
        result.summary["information_difference"] = difference
    result.summary |= _summary(trained, train, execution.device, simple)
    result.notes += _notes(trained, simple)
    _write(study, trained, settings, about, result)
    files = [path for path in sorted((folder / MODEL).iterdir()) if path.name != CARD]
    result.files += [f"{MODEL}/{path.name}" for path in files]
    for path in sorted(arrays.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    arrays.rmdir()
    return result


def _first_study(
    folder: Path, start_from: Path | None, manifest: Manifest, settings: PretrainSettings
) -> tuple[dict[str, Any] | None, PretrainSettings]:
    """What is recorded of the study gone on from (None: a random start), and settings with its size.

    Without --from it is what the stage recorded when it ran, so that a finished stage stays finished.
    """
    done = manifest.stages.get("pretrain")
    remembered = done.settings.get("from") if done else None
    if start_from is None:
        tokenized = manifest.stages.get("tokenize")
        made = tokenized.settings.get("from") if tokenized else None
        if remembered is None and made and done is None:
            raise UserError(
                f"The tokens of {folder} are those of study {made['name']}: give --from with its folder "
                "to go on from its checkpoint."
            )
        return remembered, settings
    first = read_manifest(start_from)
    if "pretrain" not in first.stages:
        raise UserError(f"--from {start_from}: its model has not been trained; finish that study first.")
    theirs = first.stages["pretrain"].settings["size"]
    before = done.settings["size"] if done else None
    if settings.size not in (theirs, before, "tiny"):
        raise UserError(
            f"--size {settings.size}: the checkpoint of {start_from} is {theirs}; leave --size out."
        )
    here = read_json(folder / TOKENIZER)["vocabulary"]
    check_vocabularies(read_json(start_from / TOKENIZER)["vocabulary"], here, name=str(start_from))
    weights = sha256(start_from / MODEL / "model.safetensors")
    return {"name": start_from.resolve().name, "model_sha256": weights}, replace(settings, size=theirs)


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
    study: Study, trained: Pretrained, settings: PretrainSettings, about: dict[str, Any], result: StageResult
) -> None:
    """The best weights into model/ with tokenizer and card, the last ones into training/last."""
    beside = tokenizer_files(study.tokenizer()["vocabulary"], max_tokens=settings.max_tokens)
    beside["study_tokenizer.json"] = (study.folder / TOKENIZER).read_text(encoding="utf-8")
    beside[CARD] = card_of(study, settings, about, result)
    save(trained.model, study.folder / MODEL, beside)
    save(trained.last, study.folder / TRAINING / "last")


@contextmanager
def _told_to_stop() -> Iterator[Any]:
    """Yield a function that says whether Ctrl-C or SIGTERM came; the second one ends at once."""
    asked: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        print("\nStopping after this step …", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    except StoppedError as error:
        print(str(error), file=sys.stderr)
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
