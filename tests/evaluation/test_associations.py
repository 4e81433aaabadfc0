import warnings

import numpy as np
import polars as pl
import pytest
from statsmodels.api import Logit
from statsmodels.stats.outliers_influence import variance_inflation_factor

from ehrfm_core.evaluation.associations import ADJUSTMENTS, associate
from ehrfm_core.evaluation.features import FEATURES, JOINT
from ehrfm_core.evaluation.sites import Stays, align
from ehrfm_core.outcomes import OUTCOMES
from ehrfm_core.published import published
from ehrfm_core.study.layout import RESULT_FILES

from .data import make_site


@pytest.fixture(autouse=True)
def _no_warning_gets_out() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


ROWS = 2 * len(FEATURES) + 2 * len(JOINT)
FIGURES = ("coefficient", "ci_low", "ci_high", "p_value", "vif")


def stays(n: int = 500, seed: int = 0) -> Stays:
    return align(make_site("a", n, seed=seed))[0]


def changed(site: Stays, *columns: pl.Expr | pl.Series) -> Stays:
    return Stays(site.site, site.frame.with_columns(*columns), site.states, site.tokens)


def row(table: pl.DataFrame, feature: str, adjustment: str) -> dict[str, float]:
    return table.filter(feature=feature, adjustment=adjustment).row(0, named=True)


def all_empty(table: pl.DataFrame) -> bool:
    return table.height == ROWS and all(table[column].null_count() == ROWS for column in FIGURES)


def standardised(frame: pl.DataFrame, *columns: str) -> np.ndarray:
    values = [frame[column].cast(pl.Float64).to_numpy() for column in columns]
    return np.column_stack([np.ones(frame.height)] + [(v - v.mean()) / v.std(ddof=1) for v in values])


def test_one_row_a_feature_and_adjustment_and_equal_to_statsmodels() -> None:
    site = stays()
    table, notes = associate(site, OUTCOMES["icu"])
    assert dict(table.schema) == RESULT_FILES["associations"]
    assert table.height == table.select("feature", "adjustment").n_unique() == ROWS
    assert set(table["adjustment"]) == set(ADJUSTMENTS)
    assert notes == []
    used = site.frame.filter(~pl.col("icu_24h"))
    assert set(table["n"]) == {used.height}
    assert set(table["n_events"]) == {used["icu"].sum()}
    groups = used["patient_id"].rank("dense").to_numpy()
    design = standardised(used, *JOINT)
    alone = np.column_stack(
        [standardised(used, "hourly_tortuosity", "n_tokens", "age"), used["sex"] == "Male"]
    ).astype(float)
    regressions = [(design, i, f, "joint") for i, f in enumerate(JOINT, start=1)]
    for x, i, feature, adjustment in [*regressions, (alone, 1, "hourly_tortuosity", "tokens_age_sex")]:
        fit = Logit(used["icu"].to_numpy().astype(float), x).fit(
            disp=0, cov_type="cluster", cov_kwds={"groups": groups}
        )
        got = row(table, feature, adjustment)
        assert got["coefficient"] == pytest.approx(fit.params[i], abs=1e-8)
        assert (got["ci_low"], got["ci_high"]) == pytest.approx(tuple(fit.conf_int()[i]), abs=1e-8)
        assert got["p_value"] == pytest.approx(fit.pvalues[i], abs=1e-10)
        assert got["vif"] == pytest.approx(variance_inflation_factor(x, i), rel=1e-6)
        assert got["vif"] > 1
    assert table.filter(adjustment="unadjusted")["vif"].to_list() == pytest.approx([1] * len(FEATURES))


def test_a_coefficient_over_its_sd_is_that_of_the_raw_unit() -> None:
    site = stays()
    got = row(associate(site, OUTCOMES["death"])[0], "max_jump", "unadjusted")
    raw = np.column_stack([np.ones(500), site.frame["max_jump"].to_numpy()])
    fit = Logit(site.frame["death"].to_numpy().astype(float), raw).fit(disp=0)
    assert got["coefficient"] / got["sd"] == pytest.approx(fit.params[1], rel=1e-6)


def test_the_papers_coefficient_stands_beside_its_own_row_and_nowhere_else() -> None:
    ours = stays()
    printed = published("associations")
    for name, outcome in OUTCOMES.items():
        table, _ = associate(Stays("ucmc", ours.frame, ours.states, ours.tokens), outcome)
        known = table.drop_nulls("paper_coefficient")
        assert set(known["feature"]) == set(JOINT)
        assert set(known["adjustment"]) == {"joint"}
        for feature in JOINT:
            value = printed.value("coefficient", site="ucmc", outcome=name, feature=feature)
            assert row(table, feature, "joint")["paper_coefficient"] == value
    elsewhere, _ = associate(ours, OUTCOMES["death"])
    assert elsewhere["paper_coefficient"].null_count() == ROWS


def test_the_unit_of_a_feature_does_not_matter() -> None:
    site = stays()
    scaled = changed(site, pl.col("path_length") * 1000 - 5)
    tables = [associate(s, OUTCOMES["death"])[0].drop("sd", "paper_coefficient") for s in (site, scaled)]
    np.testing.assert_allclose(
        tables[0].select(pl.selectors.float()).to_numpy(),
        tables[1].select(pl.selectors.float()).to_numpy(),
        atol=1e-6,
    )


def test_charting_explains_what_only_follows_charting() -> None:
    site = stays(4000)
    rng = np.random.default_rng(1)
    tokens = site.frame["n_tokens"].to_numpy()
    site = changed(
        site,
        pl.Series("path_length", tokens + rng.normal(size=len(tokens))),
        pl.Series("long_los", rng.random(len(tokens)) < 1 / (1 + np.exp(-(tokens - 14) / 5))),
    )
    table, _ = associate(site, OUTCOMES["long_los"])
    assert row(table, "path_length", "unadjusted")["ci_low"] > 0.5
    adjusted = row(table, "path_length", "joint_tokens_age_sex")
    assert adjusted["ci_low"] < 0 < adjusted["ci_high"]
    alone = row(table, "path_length", "tokens_age_sex")
    assert alone["ci_low"] < 0 < alone["ci_high"]
    assert alone["vif"] > 10


def test_fewer_than_ten_events() -> None:
    site = stays()
    table, notes = associate(changed(site, (pl.int_range(pl.len()) < 9).alias("death")), OUTCOMES["death"])
    assert all_empty(table)
    assert table["n"].to_list() == [500] * ROWS
    assert table["n_events"].to_list() == [9] * ROWS
    assert table["sd"].null_count() == 0
    assert notes == [
        "The association of In-hospital death at a with any measure of the path can not be estimated: "
        "only 9 of the 500 stays have the event, and at least 10 are needed."
    ]


@pytest.mark.parametrize("value", [True, False])
def test_one_class(value: bool) -> None:
    table, notes = associate(changed(stays(), pl.lit(value).alias("death")), OUTCOMES["death"])
    assert all_empty(table)
    assert len(notes) == 1
    assert "nothing to compare" in notes[0]


def test_perfect_separation_empties_every_regression_with_that_feature() -> None:
    site = stays()
    separated = changed(site, (pl.col("max_jump") > 21).alias("death"))
    table, notes = associate(separated, OUTCOMES["death"])
    assert row(table, "max_jump", "unadjusted")["coefficient"] is None
    assert row(table, "path_length", "joint")["coefficient"] is None
    assert row(table, "path_length", "unadjusted")["coefficient"] is not None
    assert len(notes) == 1
    assert "always or never happens" in notes[0]


def test_quasi_separation_is_not_passed_off_as_an_estimate() -> None:
    """Half of the stays share one low value and never have the event; the rest are mixed."""
    half = np.arange(500) < 250
    death = ~half & (np.random.default_rng(0).random(500) < 0.5)
    site = changed(stays(), pl.Series("max_jump", np.where(half, 0.0, 1.0)), pl.Series("death", death))
    table, notes = associate(site, OUTCOMES["death"])
    assert row(table, "max_jump", "unadjusted")["coefficient"] is None
    assert len(notes) == 1
    assert "always or never happens" in notes[0]


def test_constant_and_collinear_features() -> None:
    table, notes = associate(changed(stays(), pl.lit(3.0).alias("max_jump")), OUTCOMES["death"])
    assert row(table, "max_jump", "unadjusted")["coefficient"] is None
    assert row(table, "path_length", "unadjusted")["coefficient"] is not None
    assert "max jump is the same for every stay" in notes[0]
    table, notes = associate(
        changed(stays(), (pl.col("path_length") * 2).alias("max_jump")), OUTCOMES["death"]
    )
    assert row(table, "max_jump", "unadjusted")["coefficient"] is not None
    assert row(table, "max_jump", "joint")["coefficient"] is None
    assert "so closely" in notes[0]


def test_a_rare_sex_without_events_and_unknown_ages() -> None:
    site = stays()
    rare = pl.int_range(pl.len()) < 3
    site = changed(
        site,
        pl.when(rare).then(pl.lit("Other")).otherwise("sex").alias("sex"),
        (pl.col("death") & ~rare).alias("death"),
        pl.when(pl.int_range(pl.len()) < 50).then(None).otherwise("age").alias("age"),
    )
    table, _ = associate(site, OUTCOMES["death"])
    adjusted = row(table, "path_length", "joint_tokens_age_sex")
    assert adjusted["coefficient"] is not None
    assert adjusted["n"] == 450
    nobody = changed(
        site, pl.lit(None, dtype=pl.Float64).alias("age"), pl.lit(None, dtype=pl.String).alias("sex")
    )
    assert row(associate(nobody, OUTCOMES["death"])[0], "path_length", "joint_tokens_age_sex")["n"] == 500


def test_features_that_are_missing_or_all_missing() -> None:
    site = changed(
        stays(), pl.when(pl.int_range(pl.len()) < 100).then(None).otherwise("max_jump").alias("max_jump")
    )
    table, _ = associate(site, OUTCOMES["death"])
    assert row(table, "max_jump", "unadjusted")["n"] == row(table, "path_length", "joint")["n"] == 400
    assert row(table, "path_length", "unadjusted")["n"] == 500
    table, notes = associate(stays().split("no such split"), OUTCOMES["death"])
    assert all_empty(table)
    assert table["n_events"].to_list() == table["n"].to_list() == [0] * ROWS
    assert len(notes) == 1


def test_a_feature_that_the_table_lacks_has_no_row_and_no_joint_without_all_three() -> None:
    site = stays()
    lacking = Stays(site.site, site.frame.drop("max_jump", "direction_change"), site.states, site.tokens)
    table, _ = associate(lacking, OUTCOMES["death"])
    assert set(table["feature"]) == set(FEATURES) - {"max_jump", "direction_change"}
    assert set(table["adjustment"]) == {"unadjusted", "tokens_age_sex"}


def test_standard_errors_respect_repeated_stays() -> None:
    """The same stays entered four times are no more evidence."""
    site = stays(300)
    rows = np.tile(np.arange(300), 4)
    four = Stays(site.site, site.frame[rows], site.states[rows], site.tokens.take(rows))
    once, often = (associate(s, OUTCOMES["long_los"])[0] for s in (site, four))

    def width(table: pl.DataFrame) -> float:
        got = row(table, "max_jump", "unadjusted")
        return got["ci_high"] - got["ci_low"]

    assert width(often) == pytest.approx(width(once), rel=0.05)
