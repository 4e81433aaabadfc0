"""Source and target sites in; metrics, predictions, associations, deciles and the source's probes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import polars as pl
from threadpoolctl import threadpool_limits

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.associations import associate
from ehrfm_core.evaluation.deciles import deciles
from ehrfm_core.evaluation.features import unmeasured
from ehrfm_core.evaluation.models import Model, fit_models
from ehrfm_core.evaluation.outliers import describe_outliers
from ehrfm_core.evaluation.probes import Probe
from ehrfm_core.evaluation.scores import score
from ehrfm_core.evaluation.sites import ID, SiteData, Stays, align
from ehrfm_core.outcomes import OUTCOMES, Outcome
from ehrfm_core.study.layout import RESULT_FILES

__all__ = ["Evaluation", "SiteData", "evaluate"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a study's evaluate stage writes.

    The four frames have the columns of `layout.RESULT_FILES`; `probes` holds the probe fitted at the source
    for each outcome that could be fitted; `notes` are sentences for the reader.
    """

    metrics: pl.DataFrame
    predictions: pl.DataFrame
    associations: pl.DataFrame
    outliers: pl.DataFrame
    deciles: pl.DataFrame
    probes: dict[str, Probe]
    notes: list[str]


def evaluate(
    sites: list[SiteData],
    *,
    source: str,
    vocabulary_size: int,
    seed: int,
    n_bootstrap: int = 1000,
    probes: Mapping[str, Probe] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Fit on the source's training split, test everywhere, and once more after fitting at each target.

    Arms: "in_distribution" (source to source), "zero_shot" (the source's models on a target's test
    split, nothing fitted there) and "adapted" (the same models fitted anew on the target's training
    split, on the source model's representations). Tuning splits are not used. Every model of an outcome
    is fitted and tested on the same stays, those that count for it; the source's `probes`, where given, were
    fitted when the states were read. `progress` is called with steps done
    and steps in all. The order of rows in any table changes nothing; the same seed gives the same frames,
    on any number of cores: sums run on one thread, since their order would change the last digits.

    Raises UserError where the source is not among the sites, or a name or a stay stands twice.
    """
    names = [site.name for site in sites]
    if source not in names:
        raise UserError(f"The source {source!r} is none of the sites {', '.join(names)}; name one of them.")
    if len(set(names)) < len(names):
        raise UserError(f"A site stands twice among {', '.join(names)}; give each its own name.")
    total = 4 * len(sites) * len(OUTCOMES)
    steps = iter(range(1, total + 1))

    def tick() -> None:
        if progress:
            progress(next(steps), total)

    notes: list[str] = []
    aligned: dict[str, Stays] = {}
    for site in sorted(sites, key=lambda site: site.name != source):
        aligned[site.name], left_out = align(site)
        notes += left_out
    tests = {name: stays.split("test") for name, stays in aligned.items()}
    notes += _empty_splits(aligned, tests)
    with threadpool_limits(limits=1, user_api="blas"):
        predictions, used, fit_notes = _fit_and_predict(
            aligned, tests, probes or {}, vocabulary_size=vocabulary_size, tick=tick
        )
        metrics, score_notes = score(
            predictions, _patients(tests), seed=seed, n_bootstrap=n_bootstrap, tick=tick
        )
        associations, by_decile, association_notes = _associations(tests, tick=tick)
        outliers, outlier_notes = describe_outliers(tests, seed=seed, n_bootstrap=n_bootstrap, tick=tick)
    if progress:
        progress(total, total)
    notes += fit_notes + score_notes + association_notes + outlier_notes
    return Evaluation(metrics, predictions, associations, outliers, by_decile, used, notes)


def _fit_and_predict(
    aligned: dict[str, Stays],
    tests: dict[str, Stays],
    given: Mapping[str, Probe],
    *,
    vocabulary_size: int,
    tick: Callable[[], None],
) -> tuple[pl.DataFrame, dict[str, Probe], list[str]]:
    """Predictions of every arm, the source's probes and notes; the first site is the source."""
    source = next(iter(aligned))
    notes: list[str] = []
    parts = [pl.DataFrame(schema=RESULT_FILES["predictions"])]
    probes: dict[str, Probe] = {}
    source_models: dict[str, dict[str, Model]] = {}
    for name, stays in aligned.items():
        training = stays.split("train")
        for outcome in OUTCOMES.values():
            models: dict[str, Model] = {}
            if len(training):
                probe = given.get(outcome.name) if name == source else None
                models, fit_notes = fit_models(
                    training, outcome, vocabulary_size=vocabulary_size, probe=probe
                )
                notes += fit_notes
            if name == source:
                source_models[outcome.name] = models
                if models:
                    probes[outcome.name] = models["probe"].probe
                arms = [("in_distribution", "none", 0.0, models)]
            else:
                arms = [
                    ("zero_shot", "none", 0.0, source_models[outcome.name]),
                    ("adapted", "refit", 1.0, models),
                ]
            test = tests[name].counting(outcome)
            if len(tests[name]) and not len(test):
                notes.append(
                    f"{outcome.label} at {name}: none of the {len(tests[name])} test stays counts for this "
                    "outcome, so there is nothing to test on."
                )
            for arm, method, fraction, fitted in arms:
                parts += _predict(
                    test, outcome, fitted, arm=arm, source=source, method=method, fraction=fraction
                )
            tick()
    return pl.concat(parts), probes, notes


def _associations(
    tests: dict[str, Stays], *, tick: Callable[[], None]
) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Associations and deciles at every site; a site without test stays has had its note."""
    tables: list[pl.DataFrame] = []
    groups: list[pl.DataFrame] = []
    notes: list[str] = []
    for test in tests.values():
        notes += unmeasured(test)
        for outcome in OUTCOMES.values():
            table, found = associate(test, outcome)
            tables.append(table)
            groups.append(deciles(test, outcome))
            notes += found if len(test) else []
            tick()
    return pl.concat(tables), pl.concat(groups), notes


def _predict(
    test: Stays,
    outcome: Outcome,
    models: dict[str, Model],
    *,
    arm: str,
    source: str,
    method: str,
    fraction: float,
) -> Iterator[pl.DataFrame]:
    """Rows of `predictions.parquet` for one arm, in order of hospitalization_id."""
    labels = test.labels(outcome)
    schema = RESULT_FILES["predictions"]
    for name, model in models.items():
        if not len(test):
            continue
        constant = {
            "model": name,
            "arm": arm,
            "train_site": source,
            "test_site": test.site,
            "adapt_method": method,
            "adapt_fraction": fraction,
            "repeat": 0,
            "outcome": outcome.name,
        }
        yield test.frame.select(
            ID,
            *(pl.lit(value, dtype=schema[column]).alias(column) for column, value in constant.items()),
            pl.lit(pl.Series(labels)).alias("label"),
            pl.lit(pl.Series(model.probability(test))).alias("probability"),
        )


def _patients(tests: dict[str, Stays]) -> pl.DataFrame:
    """Patient of each test stay, by site and stay."""
    return pl.concat(
        test.frame.select(pl.lit(name).alias("test_site"), ID, "patient_id") for name, test in tests.items()
    )


def _empty_splits(aligned: dict[str, Stays], tests: dict[str, Stays]) -> list[str]:
    source = next(iter(aligned))
    notes = []
    for name, stays in aligned.items():
        if not len(tests[name]):
            notes.append(f"{name} has no stay in its test split, so nothing can be tested there.")
        if not (stays.frame["split"] == "train").any():
            lost = "no model can be fitted" if name == source else "nothing can be adapted to this site"
            notes.append(f"{name} has no stay in its training split, so {lost}.")
    return notes
