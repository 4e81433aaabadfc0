"""Every model in every arm: at the source, unchanged at each target, and adapted to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from ehrfm_core.evaluation.adaptation import adapted, coarse, draws, refit, some_of
from ehrfm_core.evaluation.baselines import POOLED
from ehrfm_core.evaluation.models import Model, fit_models
from ehrfm_core.evaluation.probes import Probe
from ehrfm_core.evaluation.run_measures import SPECIFICITY
from ehrfm_core.evaluation.sites import ID, Stays
from ehrfm_core.evaluation.thresholds import Levels
from ehrfm_core.evaluation.value_features import Codes
from ehrfm_core.outcomes import Outcome, Outcomes
from ehrfm_core.study.layout import RESULT_FILES

IN_MATRIX = ("probe", "baseline_token_counts", "baseline_boosting")


class Arms:
    """Fits and predicts; what comes out is in `predictions`, `probes` (the source's) and `notes`.

    The first of the sites is the source; `drawn` are the rows of subsamples.parquet.
    """

    def __init__(
        self,
        sites: Mapping[str, Stays],
        given: Mapping[str, Probe],
        drawn: pl.DataFrame,
        *,
        vocabulary_size: int,
        codes: Codes | None,
        outcomes: Outcomes,
        choose_penalty: bool,
        seed: int,
    ) -> None:
        self.sites, self.given, self.drawn, self.seed = sites, given, drawn, seed
        self.vocabulary_size, self.codes, self.outcomes = vocabulary_size, codes, outcomes
        self.choose_penalty = choose_penalty
        self.source = next(iter(sites))
        self.probes: dict[str, Probe] = {}
        self.notes: list[str] = []
        self._parts = [pl.DataFrame(schema=RESULT_FILES["predictions"])]
        self._thresholds = [pl.DataFrame(schema=RESULT_FILES["thresholds"])]
        self._models: dict[str, dict[str, Model]] = {}  # the source's, by outcome
        self._local: dict[str, dict[str, dict[str, Model]]] = {}  # the targets', by site and outcome

    @property
    def predictions(self) -> pl.DataFrame:
        """Rows of predictions.parquet."""
        return pl.concat(self._parts)

    @property
    def thresholds(self) -> pl.DataFrame:
        """Rows of thresholds.parquet."""
        return pl.concat(self._thresholds)

    def fit(self, tick: Callable[[], None]) -> None:
        """Fit and predict for every site and outcome."""
        for name, stays in self.sites.items():
            for outcome in self.outcomes.values():
                self._outcome(name, stays, outcome)
                tick()
        if len(self.sites) > 2:
            for outcome in self.outcomes.values():
                self._matrix(outcome)

    def _outcome(self, name: str, stays: Stays, outcome: Outcome) -> None:
        training, whole = stays.split("train"), stays.split("test")
        test = whole.counting(outcome)
        if len(whole) and not len(test):
            self.notes.append(
                f"{outcome.label} at {name}: none of the {len(whole)} test stays counts for this outcome, so "
                "there is nothing to test on."
            )
        home = name == self.source
        models: dict[str, Model] = {}
        if len(training):
            models, notes = fit_models(
                training,
                outcome,
                vocabulary_size=self.vocabulary_size,
                codes=self.codes,
                probe=self.given.get(outcome.name) if home else None,
                tuning=stays.split("tuning") if self.choose_penalty else None,
                seed=self.seed,
            )
            self.notes += notes
        if home:
            self._models[outcome.name] = models
            if models:
                probe = models["probe"].probe
                assert isinstance(probe, Probe)
                self.probes[outcome.name] = probe
            runs = [("in_distribution", "none", 0.0, model) for model in models.values()]
            tuning = stays.split("tuning").counting(outcome)
            for model in models.values():
                self._carry(model, tuning, outcome, train_site=name)
        else:
            self._local.setdefault(name, {})[outcome.name] = models
            runs = [("zero_shot", "none", 0.0, model) for model in self._models[outcome.name].values()]
            for key, model in models.items():
                if key != "probe":  # it has its own ways
                    theirs = key == POOLED and POOLED in self._models[outcome.name]
                    fitted = self._pooled(stays, outcome) if theirs else model
                    runs.append(("adapted", "refit", 1.0, fitted))
        if not len(test):
            return
        for arm, method, fraction, model in runs:
            found = model.probability(test)
            self._add(test, outcome, model.name, arm, found, method=method, fraction=fraction)
        if not home and outcome.name in self.probes:
            self._adapt(name, stays, training, test, outcome)

    def _pooled(self, stays: Stays, outcome: Outcome) -> Model:
        """The source's probe of pooled states, fitted again with a target's stays as the probe is."""
        model = self._models[outcome.name][POOLED]
        assert isinstance(model.probe, Probe)
        home, local, tuning = (
            replace(part.counting(outcome), states=model.encode(part.counting(outcome)))
            for part in (self.sites[self.source].split("train"), stays.split("train"), stays.split("tuning"))
        )
        fitted = refit(model.probe, some_of(home, seed=self.seed), local, tuning, outcome)
        return replace(model, probe=fitted)

    def _carry(self, model: Model, tuning: Stays, outcome: Outcome, *, train_site: str) -> None:
        """Keep the threshold that a model has on a tuning split."""
        if len(tuning):
            labels, p = tuning.labels(outcome), model.probability(tuning)
            self._thresholds.append(threshold_row(labels, p, model.name, train_site, outcome.name))

    def _matrix(self, outcome: Outcome) -> None:
        """Models of each target (on the source's representations) at home and at every other hospital."""
        for home, by_outcome in self._local.items():
            tuning = self.sites[home].split("tuning").counting(outcome)
            for model in by_outcome.get(outcome.name, {}).values():
                if model.name not in IN_MATRIX:
                    continue
                self._carry(model, tuning, outcome, train_site=home)
                for site, stays in self.sites.items():
                    test = stays.split("test").counting(outcome)
                    if len(test):
                        arm = "in_distribution" if site == home else "zero_shot"
                        found = model.probability(test)
                        self._add(
                            test,
                            outcome,
                            model.name,
                            arm,
                            found,
                            method="none",
                            fraction=0.0,
                            train_site=home,
                        )

    def _adapt(self, name: str, stays: Stays, training: Stays, test: Stays, outcome: Outcome) -> None:
        """The source's probe on every draw of local stays."""
        source, tuning = self.probes[outcome.name], stays.split("tuning").counting(outcome)
        home = some_of(self.sites[self.source].split("train").counting(outcome), seed=self.seed)
        for draw in draws(training.frame, self.drawn.filter(pl.col("site") == name)):
            local = training.take(draw.rows).counting(outcome)
            if not len(local):
                continue
            for method, model in adapted(source, home, local, tuning, outcome).items():
                probability = model.probability(test.states)
                if draw.fraction < 1:
                    probability = coarse(probability)
                key = {"method": method, "fraction": draw.fraction, "repeat": draw.repeat}
                self._add(test, outcome, "probe", "adapted", probability, **key)  # type: ignore[arg-type]

    def _add(
        self,
        test: Stays,
        outcome: Outcome,
        model: str,
        arm: str,
        probability: np.ndarray,
        *,
        method: str,
        fraction: float,
        repeat: int = 0,
        train_site: str | None = None,
    ) -> None:
        """Rows of predictions.parquet of one run, in order of hospitalization_id."""
        constant = {
            "model": model,
            "arm": arm,
            "train_site": train_site or self.source,
            "test_site": test.site,
            "adapt_method": method,
            "adapt_fraction": fraction,
            "repeat": repeat,
            "outcome": outcome.name,
        }
        self._parts.append(rows_of(test.frame[ID], test.labels(outcome), probability, constant))


def threshold_row(
    labels: np.ndarray, probability: np.ndarray, model: str, train_site: str, outcome: str
) -> pl.DataFrame:
    """A row of thresholds.parquet from a tuning split; none without a stay that lacks the event."""
    schema = RESULT_FILES["thresholds"]
    if labels.all():
        return pl.DataFrame(schema=schema)
    threshold = Levels.of(labels, probability).threshold(specificity=SPECIFICITY)
    row = (model, train_site, outcome, SPECIFICITY, threshold, len(labels), int(labels.sum()))
    return pl.DataFrame([row], schema=schema, orient="row")


def rows_of(
    ids: pl.Series, labels: np.ndarray, probability: np.ndarray, constant: Mapping[str, object]
) -> pl.DataFrame:
    """Rows of predictions.parquet of one run."""
    schema = RESULT_FILES["predictions"]
    return (
        pl.DataFrame({ID: ids})
        .select(
            ID,
            *(pl.lit(value, dtype=schema[column]).alias(column) for column, value in constant.items()),
            pl.lit(pl.Series(labels, dtype=pl.Boolean)).alias("label"),
            pl.lit(pl.Series(probability, dtype=pl.Float64)).alias("probability"),
        )
        .select(list(schema))
    )
