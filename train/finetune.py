"""Part of stage 4: the fine-tuned model at the source, unchanged at each target, and tuned further there.

Every run that is finished is kept until the stage is done, so that an interrupted one is not run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import expit
from transformers import LlamaForCausalLM

from ehrfm_core.clif.tables import ID
from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.readouts import LinearReadouts
from ehrfm_core.dynamics.states import last_states
from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.adaptation import clearly_better, coarse, draws, entries
from ehrfm_core.evaluation.arms import rows_of, threshold_row
from ehrfm_core.evaluation.probes import Probe, fit_source_probes, readouts
from ehrfm_core.model.checkpoint import load
from ehrfm_core.model.finetune import Finetuned, FinetuneSettings, finetune
from ehrfm_core.model.finetuned_file import keep, restore
from ehrfm_core.model.labelled import Labelled
from ehrfm_core.model.thinning import Roles
from ehrfm_core.study.files import fingerprint, write_table
from ehrfm_core.study.layout import RESULT_FILES
from ehrfm_core.study.reader import Study
from ehrfm_core.study.windows import Windows, read_windows
from ehrfm_core.tokens.tokenizer import Tokenizer
from train.progress import progress_bar

SCHEMA = RESULT_FILES["predictions"]
THRESHOLDS = RESULT_FILES["thresholds"]


@dataclass(frozen=True, eq=False)
class Tuned:
    """What fine-tuning gives: rows of predictions.parquet and thresholds.parquet, notes, and a summary."""

    predictions: pl.DataFrame
    thresholds: pl.DataFrame
    notes: list[str]
    summary: dict[str, object]


def finetuned_predictions(
    study: Study,
    probes: Mapping[str, Probe],
    settings: FinetuneSettings,
    *,
    repeats: int,
    seed: int,
    device: str,
    bf16: bool,
    kept: Path,
    identity: str,
) -> Tuned:
    """Fine-tune at the source, then further on every draw of each target, for the outcomes of `probes`.

    `kept` is the folder of finished runs, `identity` says of what they are.
    """
    tokenizer = Tokenizer.from_json(study.tokenizer())
    start = load(study.model(), device=device)
    windows = {site: read_windows(study, site, tokenizer) for site in study.sites}
    home, roles = windows[study.source], Roles.of(tokenizer.vocabulary)
    if settings.pooling != "last":
        probes = _pooled_probes(home, Forward(start, device=device, bf16=bf16), settings.pooling)
    head = readouts(probes)
    if head is None:
        note = f"No outcome could be fitted at {study.source}, so no model was fine-tuned."
        return Tuned(pl.DataFrame(schema=SCHEMA), pl.DataFrame(schema=THRESHOLDS), [note], {})
    predictions, thresholds = [pl.DataFrame(schema=SCHEMA)], [pl.DataFrame(schema=THRESHOLDS)]
    summary: dict[str, object] = {}
    notes = []
    for own in [head] if settings.models == "one" else [_only(head, name) for name in head.names]:
        runs = _Runs(study.source, own.names, settings, device, bf16, kept, identity, roles)
        tuned = runs.source(start, own, home)
        found = {"best_epoch": tuned.best_epoch, "curve": tuned.curve}
        summary |= found if settings.models == "one" else {own.names[0]: found}
        if tuned.best_epoch == 0:
            of = "" if settings.models == "one" else f" for {study.outcomes[own.names[0]].label}"
            notes.append(
                f"Fine-tuning at the source{of} gave no better AUC on its tuning split than the probe: the "
                "fine-tuned model is the probe."
            )
        for site, window in windows.items():
            arm = "in_distribution" if site == study.source else "zero_shot"
            unchanged = runs.predict(tuned, window, arm)
            predictions.append(unchanged)
            if site != study.source:
                predictions += runs.adapt(tuned, window, unchanged, repeats=repeats, seed=seed)
        thresholds.append(runs.thresholds(tuned, home))
    return Tuned(pl.concat(predictions), pl.concat(thresholds), notes, summary)


def _pooled_probes(window: Windows, forward: Forward, pooling: str) -> dict[str, Probe]:
    """Probes of pooled states, from which training starts; C is chosen on the tuning split."""

    def read(split: str) -> tuple[pl.DataFrame, np.ndarray]:
        rows = np.flatnonzero(window.split(split))
        with progress_bar(f"read {window.site}, {split} split", " tokens") as bar:
            states = last_states(
                forward,
                window.tokens.take(rows),
                context=window.context.take(rows),
                pooling=pooling,
                progress=bar,
            )
        return window.stays[rows], states

    probes, _ = fit_source_probes(*read("train"), window.outcomes, tuning=read("tuning"))
    return probes


def _only(head: LinearReadouts, name: str) -> LinearReadouts:
    """The read-out of one outcome."""
    k = head.names.index(name)
    return LinearReadouts((name,), head.weight[:, k : k + 1], head.bias[k : k + 1])


@dataclass(frozen=True, eq=False)
class _Runs:
    site: str  # the source
    names: tuple[str, ...]  # of the outcomes
    settings: FinetuneSettings
    device: str
    bf16: bool
    kept: Path
    identity: str
    roles: Roles

    def source(self, start: LlamaForCausalLM, head: LinearReadouts, window: Windows) -> Finetuned:
        """Fine-tune on the source's training split, or take the weights of a run that was finished."""
        named = [self.identity, asdict(self.settings), *self.names]
        path = self.kept / f"{fingerprint(named)[:16]}.safetensors"
        if found := restore(path, start):
            return found
        train, tuning = (self._labelled(window, split) for split in ("train", "tuning"))
        try:
            with progress_bar(f"fine-tune {self.site}", " steps") as bar:
                tuned = finetune(
                    start,
                    head,
                    train,
                    tuning,
                    self.settings,
                    device=self.device,
                    bf16=self.bf16,
                    progress=bar,
                )
        except UserError as error:
            raise UserError(f"{self.site}: {error}") from None
        keep(path, tuned)
        return tuned

    def predict(self, tuned: Finetuned, window: Windows, arm: str) -> pl.DataFrame:
        """Rows of predictions.parquet of one model on the test split of a site."""
        data = self._labelled(window, "test")
        logits = tuned.logits(data, device=self.device, bf16=self.bf16)
        return self._rows(window, data, logits, {"arm": arm, "adapt_method": "none", "adapt_fraction": 0.0})

    def thresholds(self, tuned: Finetuned, window: Windows) -> pl.DataFrame:
        """Rows of thresholds.parquet from the source's tuning split."""
        tuning = self._labelled(window, "tuning")
        parts = [pl.DataFrame(schema=THRESHOLDS)]
        logits = tuned.logits(tuning, device=self.device, bf16=self.bf16) if len(tuning) else None
        for k, name in enumerate(self.names):
            own = np.isfinite(tuning.labels[:, k])
            if logits is not None and own.any():
                labels, p = tuning.labels[own, k] > 0.5, expit(logits[own, k])
                parts.append(threshold_row(labels, p, "finetuned", self.site, name))
        return pl.concat(parts)

    def adapt(
        self, tuned: Finetuned, window: Windows, unchanged: pl.DataFrame, *, repeats: int, seed: int
    ) -> Iterator[pl.DataFrame]:
        """Tune the model further on every draw of a target's training split."""
        train, tuning, test = (self._labelled(window, split) for split in ("train", "tuning", "test"))
        stays = window.stays.filter(pl.col("split") == "train")
        if not stays.height:
            return
        chosen = list(draws(stays, entries(stays, site=window.site, repeats=repeats, seed=seed)))
        with progress_bar(f"fine-tune {window.site}", " draws") as bar:
            for done, draw in enumerate(chosen, 1):
                key = {"arm": "adapted", "adapt_method": "finetune", "adapt_fraction": draw.fraction}
                key |= {"repeat": draw.repeat}
                path = (
                    self.kept / f"{fingerprint([self.identity, window.site, key, *self.names])[:16]}.parquet"
                )
                frame = _read(path)
                if frame is None:
                    moved = self._moved(tuned, train.take(draw.rows), tuning, window, repeat=draw.repeat)
                    frame = self._same(unchanged, key)
                    if moved:
                        logits = moved.logits(test, device=self.device, bf16=self.bf16)
                        frame = self._rows(window, test, logits, key)
                    write_table(path, frame, SCHEMA)
                bar(done, len(chosen), "")
                yield frame

    def _moved(
        self, tuned: Finetuned, local: Labelled, tuning: Labelled, window: Windows, *, repeat: int
    ) -> Finetuned | None:
        """The model tuned further on local stays; None where it is not clearly better on the tuning split."""
        if not len(local.counted):
            return None
        settings = replace(self.settings, seed=self.settings.seed + repeat)
        moved = finetune(tuned.model, tuned.head, local, tuning, settings, device=self.device, bf16=self.bf16)
        if not moved.best_epoch:
            return None
        one, other = (run.logits(tuning, device=self.device, bf16=self.bf16) for run in (moved, tuned))
        patients = window.stays.filter(pl.col("split") == "tuning")["patient_id"].to_numpy()
        counts = [np.isfinite(column) for column in tuning.labels.T]
        better = clearly_better(
            [tuning.labels[own, k] > 0.5 for k, own in enumerate(counts)],
            [one[own, k] for k, own in enumerate(counts)],
            [other[own, k] for k, own in enumerate(counts)],
            [patients[own] for own in counts],
            choices=len(moved.curve) - 1,  # epochs, of which the best was taken
        )
        return moved if better else None

    def _same(self, unchanged: pl.DataFrame, key: dict[str, object]) -> pl.DataFrame:
        """Predictions of the model as it was, under the name of an adapted run: no pass is needed."""
        frame = unchanged.with_columns(
            pl.lit(value, dtype=SCHEMA[name]).alias(name) for name, value in key.items()
        )
        if float(key["adapt_fraction"]) < 1:  # type: ignore[arg-type]
            frame = frame.with_columns(pl.Series("probability", coarse(frame["probability"].to_numpy())))
        return frame

    def _labelled(self, window: Windows, split: str) -> Labelled:
        rows = np.flatnonzero(window.split(split))
        stays = window.stays[rows]
        labels = [
            stays.select(
                pl.when(window.outcomes[name].counts()).then(pl.col(name).cast(pl.Float32)).alias(name)
            ).to_series()
            for name in self.names
        ]
        known = np.stack([label.fill_null(float("nan")).to_numpy() for label in labels], axis=1)
        context = window.context.take(rows)
        return Labelled(window.tokens.take(rows), known, context, window.prefix, self.roles)

    def _rows(
        self, window: Windows, test: Labelled, logits: np.ndarray, key: dict[str, object]
    ) -> pl.DataFrame:
        """Rows of predictions.parquet for logits of the test split (n × K)."""
        ids = window.stays.filter(pl.col("split") == "test")[ID]
        parts = [pl.DataFrame(schema=SCHEMA)]
        for k, name in enumerate(self.names):
            counts = np.flatnonzero(np.isfinite(test.labels[:, k]))
            if not len(counts):
                continue
            probability = expit(logits[counts, k])
            if 0 < float(key["adapt_fraction"]) < 1:  # type: ignore[arg-type]
                probability = coarse(probability)
            constant: dict[str, object] = {"model": "finetuned", "train_site": self.site}
            constant |= {"test_site": window.site, "repeat": 0, "outcome": name} | key
            parts.append(rows_of(ids.gather(counts), test.labels[counts, k] > 0.5, probability, constant))
        return pl.concat(parts).select(list(SCHEMA))


def _read(path: Path) -> pl.DataFrame | None:
    try:
        return pl.read_parquet(path, glob=False)
    except (OSError, pl.exceptions.PolarsError):
        return None
