"""What the model card of a study says."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from ehrfm_core.model.card import model_card
from ehrfm_core.model.settings import PretrainSettings
from ehrfm_core.study.reader import Study
from ehrfm_core.study.writer import StageResult
from train.from_checkpoint import Checkpoint

CAME_OUT = ("learning_rate", "batch_tokens", "steps", "best_step", "epochs", "precision", "device")


def card_of(
    study: Study,
    settings: PretrainSettings,
    about: dict[str, Any],
    checkpoint: Checkpoint | None,
    result: StageResult,
) -> str:
    """The card of the model just trained; `about` and the result's summary hold its figures.

    "No real patient is in it" is said of a random start alone: nobody knows all that a checkpoint has seen.
    """
    figures, notes = result.summary, list(result.notes)
    if checkpoint and study.manifest.synthetic:
        notes.append("The stays it was trained on here are SYNTHETIC.")
    if checkpoint and checkpoint.synthetic:
        notes.append(f"The checkpoint of {checkpoint.name}, which it began as, has seen SYNTHETIC data.")
    given = {name: value for name, value in asdict(settings).items() if value is not None}
    return model_card(
        title=study.name,
        source=study.manifest.source,
        synthetic=study.manifest.synthetic and checkpoint is None,
        date=datetime.now(UTC).date().isoformat(),
        parameters=figures["parameters"],
        starts_from=checkpoint.name if checkpoint else None,
        data={
            "stays trained on": about["train_stays"],
            "tokens trained on": figures["train_tokens"],
            "stays looked at to stop": about["tuning_stays"],
            "tokens in the vocabulary": len(study.tokenizer()["vocabulary"]),
        },
        settings=given | {name: figures[name] for name in CAME_OUT},
        losses={
            "this model, tuning split (nats a token)": figures["tuning_loss"],
            "guessing from the token before": figures["bigram_nats"],
            "guessing from token frequencies": figures["unigram_nats"],
            "every token equally likely": figures["uniform_nats"],
        },
        notes=notes,
    )
