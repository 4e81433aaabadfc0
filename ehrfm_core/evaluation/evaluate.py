"""Source and target sites in; metrics, predictions, associations, deciles and the source's probes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl
from threadpoolctl import threadpool_limits

from ehrfm_core.errors import UserError
from ehrfm_core.evaluation.adaptation import REPEATS, entries
from ehrfm_core.evaluation.arms import Arms
from ehrfm_core.evaluation.associations import associate
from ehrfm_core.evaluation.comparisons import compare
from ehrfm_core.evaluation.deciles import deciles
from ehrfm_core.evaluation.features import unmeasured
from ehrfm_core.evaluation.outliers import describe_outliers
from ehrfm_core.evaluation.probes import Probe
from ehrfm_core.evaluation.reweighting import reweight
from ehrfm_core.evaluation.scores import score
from ehrfm_core.evaluation.sites import ID, SiteData, Stays, align
from ehrfm_core.evaluation.subgroups import by_subgroup, groups_of
from ehrfm_core.evaluation.value_features import Codes
from ehrfm_core.outcomes import OUTCOMES, Outcomes
from ehrfm_core.study.layout import RESULT_FILES

__all__ = ["Evaluation", "SiteData", "evaluate"]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a study's evaluate stage writes.

    The frames have the columns of `layout.RESULT_FILES`; `probes` holds the probe fitted at the source for
    each outcome that could be fitted; `notes` are sentences for the reader.
    """

    metrics: pl.DataFrame
    predictions: pl.DataFrame
    calibration_curves: pl.DataFrame
    decision_curves: pl.DataFrame
    comparisons: pl.DataFrame
    reweighting: pl.DataFrame
    subsamples: pl.DataFrame
    thresholds: pl.DataFrame
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
    vocabulary: Mapping[str, int] | None = None,
    further: pl.DataFrame | None = None,
    carried: pl.DataFrame | None = None,
    repeats: int = REPEATS,
    outcomes: Outcomes = OUTCOMES,
    choose_penalty: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Fit on the source's training split, test everywhere, and adapt to a little or all of each target's.

    Arms: "in_distribution" (source to source), "zero_shot" (the source's models on a target's test
    split, nothing fitted there) and "adapted": baselines fitted anew on the target's training split, and the
    probe adapted in every way of `adaptation` on growing shares of it, `repeats` times. `further` are
    predictions of models trained elsewhere (rows of predictions.parquet) to be measured with the others,
    `carried` their thresholds (rows of thresholds.parquet). With three hospitals or more the models fitted at
    each target are tested at all of them. Every model of an outcome is fitted and tested on the stays that
    count for it; the source's `probes`, where given, were fitted when the states were read; with
    `choose_penalty` C is chosen on the tuning split of the hospital where a model is fitted. With
    `vocabulary` there is boosting on values. `progress` is called with steps done and steps in all. The order
    of rows in any table changes nothing; the same seed gives the same frames, on any number of cores: sums
    run on one thread, since their order would change the last digits.

    Raises UserError where the source is not among the sites, or a name or a stay stands twice.
    """
    names = [site.name for site in sites]
    if source not in names:
        raise UserError(f"The source {source!r} is none of the sites {', '.join(names)}; name one of them.")
    if len(set(names)) < len(names):
        raise UserError(f"A site stands twice among {', '.join(names)}; give each its own name.")
    total = 4 * len(sites) * len(outcomes)
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
    drawn = _drawn(aligned, source, repeats=repeats, seed=seed)
    with threadpool_limits(limits=1, user_api="blas"):
        arms = Arms(
            aligned,
            probes or {},
            drawn,
            vocabulary_size=vocabulary_size,
            codes=Codes.of(vocabulary) if vocabulary else None,
            outcomes=outcomes,
            choose_penalty=choose_penalty,
            seed=seed,
        )
        arms.fit(tick)
        parts = [arms.predictions] + ([] if further is None else [further])
        predictions = pl.concat(parts)
        patients = _patients(tests)
        thresholds = pl.concat([arms.thresholds] + ([] if carried is None else [carried]))
        scores = score(
            predictions,
            patients,
            seed=seed,
            n_bootstrap=n_bootstrap,
            thresholds=thresholds,
            outcomes=outcomes,
            tick=tick,
        )
        associations, by_decile, association_notes = _associations(tests, outcomes, tick=tick)
        outliers, outlier_notes = describe_outliers(
            tests, outcomes=outcomes, seed=seed, n_bootstrap=n_bootstrap, tick=tick
        )
        groups = pl.concat(
            groups_of(test.frame).with_columns(pl.lit(name).alias("test_site"))
            for name, test in tests.items()
        )
        metrics = pl.concat([scores.metrics, by_subgroup(predictions, patients, groups)])
        comparisons = compare(predictions.filter(pl.col("train_site") == source), patients)
        reweighting, reweighting_notes = reweight(
            tests,
            predictions,
            outcomes,
            source=source,
            vocabulary_size=vocabulary_size,
            seed=seed,
            n_bootstrap=n_bootstrap,
        )
    if progress:
        progress(total, total)
    return Evaluation(
        metrics,
        predictions,
        scores.calibration_curves,
        scores.decision_curves,
        comparisons,
        reweighting,
        drawn,
        thresholds,
        associations,
        outliers,
        by_decile,
        arms.probes,
        notes + arms.notes + scores.notes + association_notes + outlier_notes + reweighting_notes,
    )


def _drawn(aligned: dict[str, Stays], source: str, *, repeats: int, seed: int) -> pl.DataFrame:
    """Rows of subsamples.parquet: the draws of every target's training split."""
    schema = RESULT_FILES["subsamples"]
    parts = [pl.DataFrame(schema=schema)]
    for name, stays in aligned.items():
        training = stays.frame.filter(pl.col("split") == "train")
        if name != source and training.height:
            table = entries(training, site=name, repeats=repeats, seed=seed)
            parts.append(table.select(pl.lit(name).alias("site"), "repeat", "patient_id", "enters"))
    return pl.concat(parts)


def _associations(
    tests: dict[str, Stays], outcomes: Outcomes, *, tick: Callable[[], None]
) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Associations and deciles at every site; a site without test stays has had its note."""
    tables: list[pl.DataFrame] = []
    groups: list[pl.DataFrame] = []
    notes: list[str] = []
    for test in tests.values():
        notes += unmeasured(test)
        for outcome in outcomes.values():
            table, found = associate(test, outcome)
            tables.append(table)
            groups.append(deciles(test, outcome))
            notes += found if len(test) else []
            tick()
    return pl.concat(tables), pl.concat(groups), notes


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
