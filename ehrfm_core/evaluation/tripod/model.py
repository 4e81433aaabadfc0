"""Answers about the model itself and what makes it again: items 12c, 18f, 22 and 26."""

from __future__ import annotations

from typing import Any

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.tripod.facts import Facts, listed
from ehrfm_core.study.files import read_json
from ehrfm_core.study.layout import MODEL, WEIGHTS

LICENCE = "Apache License 2.0"
SHAPE = {"num_hidden_layers": "layers", "hidden_size": "wide", "num_attention_heads": "heads"}


def model(f: Facts) -> list[str]:
    """Item 12c."""
    figures, settings = f.summary("pretrain"), f.settings("pretrain")
    start: dict[str, Any] = settings.get("from") or {}
    came_out = {name: figures.get(name) for name in ("learning_rate", "batch_tokens", "precision")}
    finetuning: dict[str, Any] | None = f.settings("evaluate").get("finetuning")
    penalties: dict[str, float] | None = f.summary("embed").get("probe_c")
    chosen = f"C chosen on the tuning split: {_shown(penalties)}" if penalties else "C = 1"
    return [
        "A Llama-style transformer, trained to predict the next token, read by one logistic regression an "
        f"outcome (the probe, {chosen}) on its state at the end of the window.",
        *_size(f),
        f"It began as the checkpoint of study {start.get('name', '?')}." if start else "It began at random.",
        f"Settings: {_shown(settings | came_out)}.",
        *_training(figures),
        *_finetuned(finetuning),
        "Internal validation: later patients of the same hospital, its test split.",
    ]


def _finetuned(settings: dict[str, Any] | None) -> list[str]:
    if not settings:
        return []
    what = "for each outcome by itself" if settings.get("models") == "each" else "for all outcomes at once"
    return [f"Fine-tuned {what}, stopped by the tuning AUC: {_shown(settings)}."]


def code(f: Facts) -> list[str]:
    """Item 18f."""
    stages = f.study.manifest.stages.values()
    versions = sorted({str(stage.settings["version"]) for stage in stages if "version" in stage.settings})
    packages = ", ".join(f"{name} {version}" for name, version in f.study.manifest.packages.items())
    return [
        f"The program ehrfm{' ' + listed(versions) if versions else ''} under the {LICENCE}.",
        f"Packages: {packages}." if packages else "Versions of packages were not kept.",
        f"Seeds: {f.seeds}." if f.seeds else "Seeds were not kept.",
        f"study.json keeps settings and hashes of every file (version {f.study.digest}).",
    ]


def specification(f: Facts) -> list[str]:
    """Item 22."""
    sha = f.study.manifest.stages["pretrain"].files.get(WEIGHTS)
    return [
        "model/ is a Hugging Face checkpoint"
        + (f" (SHA-256 of the weights begins {sha[:12]})." if sha else "."),
        *_size(f),
        "tokenizer.json holds cut points and vocabulary.",
        "results/probes.json holds the coefficients that turn a state into risks."
        if f.study.has("evaluate")
        else "There are no probes yet: the stage evaluate has not run.",
    ]


def limitations(f: Facts) -> list[str]:
    """Item 26: what the evaluation itself warns of."""
    made_up = ["The data are SYNTHETIC: results say nothing about medicine."]
    return (made_up if f.study.manifest.synthetic else []) + f.notes("evaluate")


def _size(f: Facts) -> list[str]:
    """Parameters and shape; nothing where neither was kept."""
    try:
        config: dict[str, Any] = read_json(f.study.file(f"{MODEL}/config.json"))
    except UserError:
        config = {}
    n = f.summary("pretrain").get("parameters")
    parts = [f"{n:,} parameters"] if n is not None else []
    parts += [f"{config[key]:,} {words}" for key, words in SHAPE.items() if key in config]
    return [f"Size: {', '.join(parts)}."] if parts else []


def _training(figures: dict[str, Any]) -> list[str]:
    """What was trained on, how long, and which weights count."""
    words = {
        "train_tokens": "tokens of the training split",
        "epochs": "times over",
        "steps": "steps",
        "best_step": "the step whose weights count, the best on the tuning split",
        "tuning_loss": "nats a token there",
    }
    shown = [
        f"{value:,.3f} {words[key]}" if key == "tuning_loss" else f"{value:,} {words[key]}"
        for key in words
        if (value := figures.get(key)) is not None
    ]
    return [f"Training: {'; '.join(shown)}."] if shown else []


def _shown(settings: dict[str, Any]) -> str:
    """Settings that were given or found, in words that a table of settings would use."""
    return ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in settings.items()
        if value is not None and not isinstance(value, (dict, list)) and name != "version"
    )


ANSWERS = {
    "12c": ("pretrain", model),
    "18f": ("tokenize", code),
    "22": ("pretrain", specification),
    "26": ("evaluate", limitations),
}
