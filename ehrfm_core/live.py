"""One stay given as events, read as the study was: path, jumps, risk and place within a second on a CPU.

Change, add or delete events (`tokens.edit`), read again, and compare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import expit
from sklearn.ensemble import IsolationForest

from ehrfm_core.clif.tables import ID
from ehrfm_core.dynamics.anomaly import anomaly_scores, fit_forest
from ehrfm_core.dynamics.forward import Forward
from ehrfm_core.dynamics.map_file import load_maps
from ehrfm_core.dynamics.maps import Maps
from ehrfm_core.dynamics.measures import hourly_measures, path_measures
from ehrfm_core.dynamics.redaction import Dropped, event_begins, redact
from ehrfm_core.dynamics.states import read_out
from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.probes import Probe, readouts
from ehrfm_core.model.checkpoint import load
from ehrfm_core.model.hardware import bf16_pays
from ehrfm_core.ragged import Ragged
from ehrfm_core.study.files import read_json
from ehrfm_core.study.layout import FITTED_MAPS, PROBES
from ehrfm_core.study.reader import Study
from ehrfm_core.study.windows import read_context
from ehrfm_core.tokens.edit import events_of, split_prefix, tokens_of
from ehrfm_core.tokens.tokenizer import Tokenizer
from ehrfm_core.tokens.window import model_window

_NOTHING = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Reading:
    """What the model makes of one window of T tokens; H hours, D the hidden size.

    `tokens` and `minutes` (T), `jumps` (T, 0 first), `information` (T, not a number first), `risks` by
    outcome (T: the probability after every token), `measures` (one row: those of `dynamics.measures` and
    `anomaly_score`), `hourly` (H + 1 rows: the columns of paths.parquet),
    `states` (H + 1 × D: R at every hour, in full precision at the end) and `state` (D). `context` are the
    tokens of earlier stays that stood before the window.
    """

    tokens: np.ndarray
    minutes: np.ndarray
    jumps: np.ndarray
    information: np.ndarray
    risks: dict[str, np.ndarray]
    measures: pl.DataFrame
    hourly: pl.DataFrame
    states: np.ndarray
    state: np.ndarray
    context: np.ndarray


@dataclass(frozen=True, eq=False)
class Instrument:
    """A study's checkpoint with everything that reads it, loaded once."""

    tokenizer: Tokenizer
    forward: Forward
    probes: dict[str, Probe]
    forest: IsolationForest
    maps: Maps

    @classmethod
    def of(cls, study: Study, *, device: str = "cpu") -> Instrument:
        """Load the checkpoint, the probes and the maps; the forest is fitted again from states and seed.

        Raises UserError where the study has no states yet, or no file of its maps.
        """
        if not study.has("embed"):
            raise UserError(f"{study.name} has no states yet: run `python -m train embed` first.")
        stage = study.manifest.stages["embed"]
        parts = read_json(study.file(PROBES))
        probes = {name: Probe.from_json(value) for name, value in parts.items()}
        bf16 = stage.summary.get("precision") == "bf16" and bf16_pays(device)
        model = load(study.model(), device=device)
        states = study.site_table(study.source, "states").join(
            study.site_table(study.source, "stays").filter(pl.col("split") == "train").select(ID), on=ID
        )
        forest = fit_forest(states.sort(ID)["state"].to_numpy(), seed=stage.settings["seed"])
        forward = Forward(model, device=device, bf16=bf16, readouts=readouts(probes))
        maps = load_maps(study.folder)
        study.file(FITTED_MAPS)
        maps.place(np.zeros((1, model.config.hidden_size), dtype=np.float32))  # compiles the search
        return cls(Tokenizer.from_json(study.tokenizer()), forward, probes, forest, maps)

    @property
    def hours(self) -> int:
        """Length of the window."""
        return int(self.tokenizer.settings.window_hours)

    def open(self, study: Study, site: str, stay: str) -> tuple[np.ndarray, pl.DataFrame]:
        """Static prefix (token ids) and events of a stay's window; UserError where there is no such stay."""
        timelines = study.site_table(site, "timelines").filter(pl.col(ID) == stay)
        if not timelines.height:
            raise UserError(f"{site} of {study.name} has no stay {stay}.")
        window = model_window(timelines, self.tokenizer)
        tokens, minutes = (window[name][0].to_numpy() for name in ("tokens", "minutes"))
        return split_prefix(tokens, self.tokenizer)[0], events_of(tokens, minutes, self.tokenizer)

    def context(self, study: Study, site: str, stay: str) -> np.ndarray:
        """Tokens of the patient's earlier stays that the model reads before this one; none without `history`.

        UserError where there is no such stay.
        """
        patient = study.site_table(site, "stays").filter(
            pl.col("patient_id") == pl.col("patient_id").filter(pl.col(ID) == stay).first()
        )
        if not patient.height:
            raise UserError(f"{site} of {study.name} has no stay {stay}.")
        timelines = study.site_table(site, "timelines").join(patient.select(ID), on=ID, how="semi").sort(ID)
        contexts = read_context(study, site, self.tokenizer, timelines)
        return contexts[timelines[ID].to_list().index(stay)]

    def read(self, prefix: np.ndarray, events: pl.DataFrame, context: np.ndarray | None = None) -> Reading:
        """Read the window that these events make, after `context` where the study reads earlier stays.

        UserError where an event cannot be one (`tokens_of`).
        """
        tokens, minutes = tokens_of(
            prefix,
            events,
            self.tokenizer,
            hours=self.hours,
            max_tokens=self.tokenizer.settings.window_tokens,
        )
        return self._read(tokens, minutes, len(prefix), _NOTHING if context is None else context)

    def read_without(self, reading: Reading, *, share: float, dropped: Dropped, seed: int = 0) -> Reading:
        """Read the same window without a share of its events (see `dynamics.redaction`)."""
        prefix = 1 + len(self.tokenizer.prefix)
        tokens, minutes, information = (
            Ragged.from_lengths(x, np.array([len(x)]))
            for x in (reading.tokens, reading.minutes, reading.information)
        )
        begins = event_begins(tokens, self.tokenizer.vocabulary, prefix=prefix)
        left, times = redact(
            tokens, minutes, information, begins, share=share, dropped=dropped, seed=seed, prefix=prefix
        )
        return self._read(left.values, times.values, prefix, reading.context)

    def _read(self, tokens: np.ndarray, minutes: np.ndarray, prefix: int, context: np.ndarray) -> Reading:
        windows = Ragged.from_lengths(tokens, np.array([len(tokens)]))
        times = Ragged(minutes, windows.offsets)
        before = Ragged.from_lengths(context, np.array([len(context)]))
        out = read_out(self.forward, windows, times, hours=self.hours, prefix=prefix, context=before)
        score = float(anomaly_scores(self.forest, out.states)[0])
        measures = path_measures([""], out, times, prefix=prefix, hours=self.hours)
        states = out.hourly[0].astype(np.float32)
        states[-1] = out.states[0]
        hourly = hourly_measures(out, times, prefix=prefix).with_columns(
            pl.Series("hour", np.arange(self.hours + 1, dtype=np.int32)),
            *(pl.Series(f"risk_{name}", probe.probability(states)) for name, probe in self.probes.items()),
            *self.maps.place(out.hourly[0]).to_frame(),
        )
        logits = out.risks.astype(np.float64)
        return Reading(
            tokens,
            minutes,
            out.jumps.values,
            out.information.values,
            {name: expit(logits[:, k]) for k, name in enumerate(self.probes)},
            measures.drop(ID).with_columns(pl.lit(score).alias("anomaly_score")),
            hourly,
            states,
            out.states[0],
            context,
        )
