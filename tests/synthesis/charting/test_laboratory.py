from __future__ import annotations

import numpy as np
import pytest

from ehrfm_core.synthesis.charting.laboratory import LABS, PANELS
from ehrfm_core.synthesis.hospital import DIFFERING
from tests.synthesis.charting.make_moments import moments
from tests.synthesis.make_hospital import Simulated

# what a laboratory calls normal, a little wider: people in hospital, of all ages, with chronic diseases
NORMAL = {
    "sodium": (135, 145),
    "potassium": (3.5, 5.0),
    "chloride": (97, 107),
    "bicarbonate": (22, 29),
    "bun": (7, 22),
    "creatinine": (0.5, 1.2),
    "glucose_serum": (80, 140),
    "calcium_total": (8.4, 10.2),
    "magnesium": (1.6, 2.4),
    "phosphate": (2.5, 4.5),
    "hemoglobin": (10.5, 16),
    "wbc": (4.5, 11),
    "platelet_count": (150, 400),
    "neutrophils_percent": (45, 75),
    "lymphocytes_percent": (15, 40),
    "monocytes_percent": (3, 10),
    "eosinophils_percent": (0.5, 5),
    "basophils_percent": (0.1, 1.5),
    "pt": (11, 14),
    "inr": (0.9, 1.25),
    "ptt": (25, 36),
    "alt": (10, 45),
    "ast": (10, 40),
    "alkaline_phosphatase": (45, 120),
    "bilirubin_total": (0.2, 1.0),
    "albumin": (3.4, 4.8),
    "ph_arterial": (7.35, 7.45),
    "pco2_arterial": (35, 45),
    "po2_arterial": (75, 105),
    "so2_arterial": (94, 99),
    "calcium_ionized": (4.4, 5.3),
    "lactate": (0.5, 2.0),
    "troponin_t": (6, 19),
    "troponin_i": (3, 19),
    "crp": (1, 10),
    "procalcitonin": (0.02, 0.2),
    "esr": (5, 30),
    "ferritin": (30, 300),
    "ldh": (130, 250),
    "glucose_fingerstick": (80, 140),
}
# which way an organ that fails moves a lab
SIGNS = [
    *(("circulation", lab, +1) for lab in ("lactate", "bun", "ast", "alt", "troponin_t", "troponin_i")),
    *(("circulation", lab, -1) for lab in ("bicarbonate", "ph_arterial")),
    *(("lungs", lab, -1) for lab in ("po2_arterial", "so2_arterial")),
    ("lungs", "pco2_arterial", +1),
    *(("kidney", lab, +1) for lab in ("creatinine", "bun", "potassium", "phosphate", "procalcitonin")),
    *(("kidney", lab, -1) for lab in ("bicarbonate", "ph_arterial", "calcium_ionized")),
    *(("liver", lab, +1) for lab in ("bilirubin_total", "ast", "alt", "inr", "pt", "ptt", "lactate")),
    *(("liver", lab, -1) for lab in ("albumin", "platelet_count", "sodium")),
    *(("inflammation", lab, +1) for lab in ("crp", "wbc", "procalcitonin", "esr", "neutrophils_percent")),
    *(("inflammation", lab, -1) for lab in ("albumin", "hemoglobin", "lymphocytes_percent")),
    *(("bleeding", lab, -1) for lab in ("hemoglobin", "platelet_count")),
    *(("bleeding", lab, +1) for lab in ("bun", "inr")),
]
Values = dict[str, np.ndarray]


def values(base: Simulated, **state: float) -> Values:
    """Every lab of every patient in one state, with the same noise each time."""
    at = moments(base.chart, **state)
    found: Values = {}
    for panel in PANELS.values():
        found |= panel.read(base.chart, at, np.random.default_rng(1))
    return found


@pytest.fixture(scope="module")
def healthy(base: Simulated) -> Values:
    return values(base)


def test_every_lab_has_a_panel_and_values_like_it(base: Simulated, healthy: Values) -> None:
    assert list(healthy) == list(LABS)
    assert set(LABS) >= DIFFERING
    assert set(NORMAL) == set(LABS)
    for name, value in healthy.items():
        assert np.isfinite(value).all()
        assert value.shape == base.stays.hours.shape, name


@pytest.mark.parametrize("lab", LABS)
def test_the_healthy_have_normal_values(healthy: Values, lab: str) -> None:
    low, high = NORMAL[lab]
    assert low <= np.median(healthy[lab]) <= high
    known = LABS[lab]
    inside = (healthy[lab] >= known.low) & (healthy[lab] <= known.high)
    assert inside.mean() > (0.85 if lab.startswith("troponin") else 0.97), "nearly nothing is clipped"


@pytest.mark.parametrize(("organ", "lab", "sign"), SIGNS)
def test_a_failing_organ_moves_its_labs(
    base: Simulated, healthy: Values, organ: str, lab: str, sign: int
) -> None:
    ill = values(base, **{organ: 2.2})
    change = (ill[lab] - healthy[lab]) * sign
    assert np.mean(change) > 0.05 * healthy[lab].std()
    assert np.median(change) >= 0


def test_each_organ_has_a_lab_that_tells_it_clearly(base: Simulated, healthy: Values) -> None:
    for organ, lab in (("circulation", "lactate"), ("kidney", "creatinine"), ("liver", "bilirubin_total")):
        assert np.median(values(base, **{organ: 2.5})[lab] / healthy[lab]) > 2.2


def test_crrt_clears_what_the_kidney_does_not(base: Simulated) -> None:
    without, with_it = values(base, kidney=3.0), values(base, kidney=3.0, renal=1.0)
    for lab in ("creatinine", "bun", "potassium", "phosphate"):
        assert np.median(with_it[lab]) < np.median(without[lab])
    assert np.median(with_it["bicarbonate"]) > np.median(without["bicarbonate"])


def test_what_belongs_together_agrees(base: Simulated) -> None:
    ill = values(base, circulation=2.0, kidney=1.5, lungs=1.5, inflammation=1.0)
    gap = ill["sodium"] - ill["chloride"] - ill["bicarbonate"]
    assert 8 < gap.mean() < 16
    assert gap.std() < 2
    cells = sum(ill[lab] for lab in LABS if lab.endswith("_percent"))
    assert np.allclose(cells, 100)
    # Henderson–Hasselbalch: the bicarbonate of a gas is near that of the same hour's serum
    gas = 0.0307 * ill["pco2_arterial"] * 10 ** (ill["ph_arterial"] - 6.1)
    assert np.corrcoef(gas, ill["bicarbonate"])[0, 1] > 0.6
    assert abs(np.mean(gas - ill["bicarbonate"])) < 0.5
    assert np.corrcoef(np.log(ill["inr"]), np.log(ill["pt"]))[0, 1] > 0.95
    assert np.corrcoef(np.log(ill["ast"]), np.log(ill["alt"]))[0, 1] > 0.7
    assert np.corrcoef(ill["calcium_total"], ill["albumin"])[0, 1] > 0.1
    assert np.corrcoef(np.log(ill["glucose_serum"]), np.log(ill["glucose_fingerstick"]))[0, 1] > 0.3
    assert np.corrcoef(ill["po2_arterial"], ill["so2_arterial"])[0, 1] > 0.5


def test_steroids_raise_sugar_and_white_cells(base: Simulated, healthy: Values) -> None:
    given = values(base, steroid=100.0)
    for lab in ("glucose_serum", "wbc"):
        assert (given[lab] > healthy[lab]).all()
    over = values(base, steroid=1.0)  # what is left in the count when a course is over
    assert all((over[lab] == healthy[lab]).all() for lab in LABS)
