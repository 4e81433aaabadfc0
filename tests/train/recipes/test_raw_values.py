"""Values as they were charted: five statistics a variable, of the window alone, joined by stay."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from ehrfm_core.sources.cinc2012 import import_cinc2012
from tests.sources.make_challenges import as_folder, challenge_2012, record_2012
from train.recipes.raw_values import RawValues, raw_values

ROWS = ("01:00,HR,90", "05:00,HR,70", "23:00,HR,80", "25:00,HR,200", "03:00,K,4.5", "26:00,K,9")


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> RawValues:
    folder = tmp_path_factory.mktemp("raw")
    files = challenge_2012()
    files["set-a/900001.txt"] = record_2012(900001, *ROWS, icu=2, age=71)
    import_cinc2012([as_folder(folder / "src", files)], folder / "clif")
    return raw_values(folder / "clif")


def of(values: RawValues, stay: str, *columns: str) -> list[float]:
    return values.of(pl.Series([stay]), columns)[0].tolist()


def test_statistics_of_the_window(values: RawValues) -> None:
    names = [f"{name}_vitals_heart_rate" for name in ("last", "min", "max", "mean", "count")]
    assert of(values, "900001", *names) == [80, 70, 90, 80, 3]
    assert of(values, "900001", "count_labs_potassium", "last_labs_potassium") == [1, 4.5]
    assert of(values, "900001", "age") == [71]


def test_columns_and_stays_are_joined_by_name(values: RawValues) -> None:
    asked = values.of(values.ids.reverse(), ("age", "nothing", "max_vitals_heart_rate"))
    assert np.isnan(asked[:, 1]).all()
    again = values.of(values.ids, ("age", "max_vitals_heart_rate"))
    assert np.array_equal(asked[::-1][:, [0, 2]], again, equal_nan=True)
    with pytest.raises(ValueError, match="1 of 1 stays are not in the tables"):
        values.of(pl.Series(["1"]), ("age",))
