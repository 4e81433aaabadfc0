"""Laboratory values as readings of the state: one function a panel, so that what belongs together agrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ehrfm_core.synthesis.charting.chart import Chart, Moments
from ehrfm_core.synthesis.charting.oxygen import arterial_oxygen, saturation
from ehrfm_core.synthesis.latent.care import DEVICE, IMV, RENAL, STEROID
from ehrfm_core.synthesis.latent.physiology import (
    BLEEDING,
    CANCER,
    CARDIAC_SURGERY,
    CHRONIC_KIDNEY,
    CIRCULATION,
    CIRRHOSIS,
    COPD,
    DIABETES,
    HEART_FAILURE,
    INFLAMMATION,
    KIDNEY,
    LIVER,
    LUNGS,
    REASONS,
)
from ehrfm_core.synthesis.latent.step import AGE, REASON

Values = dict[str, np.ndarray]
HEART = REASONS.index("heart")
HEPARIN_BELOW = -0.5  # of the patient's own tendency to clot: whose heart needs heparin


class Lab(NamedTuple):
    """Unit in which a lab is written, decimals, and what the analyser can tell."""

    unit: str
    decimals: int
    low: float
    high: float


LABS: dict[str, Lab] = {
    "sodium": Lab("mmol/L", 0, 110, 170),
    "potassium": Lab("mmol/L", 1, 2.0, 9.0),
    "chloride": Lab("mmol/L", 0, 70, 135),
    "bicarbonate": Lab("mmol/L", 0, 5, 45),
    "bun": Lab("mg/dL", 0, 3, 200),
    "creatinine": Lab("mg/dL", 1, 0.2, 15),
    "glucose_serum": Lab("mg/dL", 0, 30, 900),
    "calcium_total": Lab("mg/dL", 1, 5, 14),
    "magnesium": Lab("mg/dL", 1, 0.8, 5),
    "phosphate": Lab("mg/dL", 1, 0.8, 12),
    "hemoglobin": Lab("g/dL", 1, 4.0, 20),
    "wbc": Lab("10*3/uL", 1, 0.2, 90),
    "platelet_count": Lab("10*3/uL", 0, 5, 1200),
    "neutrophils_percent": Lab("%", 1, 2, 97),
    "lymphocytes_percent": Lab("%", 1, 0.5, 90),
    "monocytes_percent": Lab("%", 1, 0.2, 30),
    "eosinophils_percent": Lab("%", 1, 0, 20),
    "basophils_percent": Lab("%", 1, 0, 4),
    "pt": Lab("sec", 1, 9, 120),
    "inr": Lab("(no units)", 1, 0.8, 12),
    "ptt": Lab("sec", 1, 18, 150),
    "alt": Lab("U/L", 0, 4, 9000),
    "ast": Lab("U/L", 0, 6, 12000),
    "alkaline_phosphatase": Lab("U/L", 0, 20, 1500),
    "bilirubin_total": Lab("mg/dL", 1, 0.1, 45),
    "albumin": Lab("g/dL", 1, 1.0, 5.5),
    "ph_arterial": Lab("(no units)", 2, 6.8, 7.7),
    "pco2_arterial": Lab("mmHg", 0, 15, 130),
    "po2_arterial": Lab("mmHg", 0, 30, 550),
    "so2_arterial": Lab("%", 0, 40, 100),
    "calcium_ionized": Lab("mg/dL", 2, 2.5, 6.5),
    "lactate": Lab("mmol/L", 1, 0.4, 25),
    "troponin_t": Lab("ng/L", 0, 6, 9000),
    "troponin_i": Lab("ng/L", 0, 3, 9000),
    "crp": Lab("mg/L", 1, 0.3, 480),
    "procalcitonin": Lab("ng/mL", 2, 0.02, 200),
    "esr": Lab("mm/hour", 0, 1, 140),
    "ferritin": Lab("ng/mL", 0, 5, 40_000),
    "ldh": Lab("U/L", 0, 80, 6000),
    "glucose_fingerstick": Lab("mg/dL", 0, 30, 600),
}


def _lactate(at: Moments) -> np.ndarray:
    """Lactate in mmol/l without noise: shock first, a failing liver after."""
    beyond = np.maximum(at.organ(CIRCULATION) - 0.6, 0.0)
    return 1.35 * np.exp(0.52 * beyond + 0.16 * at.organ(LIVER) + 0.06 * at.organ(INFLAMMATION))


def _bicarbonate(chart: Chart, at: Moments) -> np.ndarray:
    """Bicarbonate in mmol/l without noise: lost with the kidney and to lactate, more in COPD."""
    value = 25.4 + 2.2 * chart.of("bicarbonate", at.stay) + 2.2 * chart.has(COPD, at.stay)
    value = value - 1.3 * at.organ(KIDNEY) - 0.75 * np.maximum(_lactate(at) - 1.6, 0.0)
    return np.where(at.care[:, RENAL] > 0, 0.5 * value + 12.0, value)


def _cleared(chart: Chart, at: Moments, value: np.ndarray, to: float) -> np.ndarray:
    """What CRRT makes of a level: halfway, on a logarithmic scale, to `to`."""
    return np.where(at.care[:, RENAL] > 0, np.sqrt(value * to), value)


def _glucose(chart: Chart, at: Moments, noise: np.ndarray) -> np.ndarray:
    sweet = chart.has(DIABETES, at.stay) * np.exp(0.45 * chart.of("glucose", at.stay))
    level = 102.0 + 55.0 * sweet + 14.0 * at.organ(INFLAMMATION) + 8.0 * at.organ(CIRCULATION)
    return (level + 35.0 * (at.care[:, STEROID] > 1.0)) * np.exp((0.16 + 0.10 * (sweet > 0)) * noise)


def metabolic(chart: Chart, at: Moments, rng: np.random.Generator) -> Values:
    """Electrolytes, kidney, glucose."""
    noise = rng.standard_normal((8, len(at)))
    kidney, age = at.organ(KIDNEY), chart.trait(AGE, at.stay)
    female = chart.patients.female[chart.stays.patient[at.stay]]
    sodium = 138.6 + 2.9 * chart.of("sodium", at.stay) - 1.6 * at.organ(LIVER) + 1.9 * noise[0]
    sodium = sodium - 1.2 * chart.has(HEART_FAILURE, at.stay)
    bicarbonate = _bicarbonate(chart, at) + 1.5 * noise[1]
    gap = 10.4 + 0.7 * (_lactate(at) - 1.4) + 0.7 * kidney - 0.9 * at.organ(CIRCULATION) + 1.3 * noise[2]
    potassium = 3.96 + 0.24 * chart.of("potassium", at.stay) + 0.22 * kidney
    potassium = potassium + 0.03 * (25.0 - bicarbonate) + 0.40 * noise[3]
    creatinine = np.where(female > 0, 0.65, 0.82) * np.exp(0.30 * chart.of("creatinine", at.stay))
    creatinine = _cleared(chart, at, creatinine * np.exp(0.66 * kidney), 1.2) * np.exp(0.06 * noise[4])
    urea = 12.5 * np.exp(0.38 * chart.of("urea", at.stay) + 0.48 * kidney + 0.10 * at.organ(CIRCULATION))
    urea = urea * np.exp(0.15 * at.organ(BLEEDING) + 0.007 * (age - 60.0) + 0.10 * noise[5])
    albumin = _albumin(chart, at)
    calcium = 8.7 + 0.35 * chart.of("calcium", at.stay) + 0.7 * (albumin - 3.4) + 0.3 * noise[6]
    return {
        "sodium": sodium,
        "potassium": np.where(at.care[:, RENAL] > 0, 4.1 + 0.4 * (potassium - 4.1), potassium),
        "chloride": sodium - bicarbonate - gap,
        "bicarbonate": bicarbonate,
        "bun": _cleared(chart, at, urea, 20.0),
        "creatinine": creatinine,
        "glucose_serum": _glucose(chart, at, noise[7]),
        "calcium_total": calcium,
    }


def minerals(chart: Chart, at: Moments, rng: np.random.Generator) -> Values:
    """Magnesium and phosphate."""
    noise, kidney = rng.standard_normal((2, len(at))), at.organ(KIDNEY)
    phosphate = np.maximum(3.05 + 0.60 * kidney + 0.85 * noise[1], 0.5)
    return {
        "magnesium": 1.98 + 0.08 * kidney + 0.22 * noise[0],
        "phosphate": _cleared(chart, at, phosphate, 3.0),
    }


def blood_count(chart: Chart, at: Moments, rng: np.random.Generator) -> Values:
    """Hemoglobin, white cells, platelets."""
    noise, age = rng.standard_normal((3, len(at))), chart.trait(AGE, at.stay)
    female = chart.patients.female[chart.stays.patient[at.stay]]
    fire, bleeding = at.organ(INFLAMMATION), at.organ(BLEEDING)
    hemoglobin = np.where(female > 0, 11.8, 12.8) + 1.4 * chart.of("hemoglobin", at.stay)
    hemoglobin = hemoglobin - 1.5 * bleeding - 1.0 * chart.has(CHRONIC_KIDNEY, at.stay) - 0.5 * fire
    hemoglobin = hemoglobin - 1.1 * chart.has(CANCER, at.stay) - 0.02 * np.maximum(age - 50.0, 0.0)
    hemoglobin = hemoglobin - 0.08 * np.minimum(at.day, 12.0) + 0.55 * noise[0]
    # below 8 blood is given
    hemoglobin = np.where(hemoglobin < 8.0, 8.0 - 0.45 * (8.0 - hemoglobin), hemoglobin)
    white = 7.8 * np.exp(0.34 * chart.of("wbc", at.stay) + 0.28 * fire + 0.05 * at.organ(CIRCULATION))
    white = white * np.exp(0.18 * (at.care[:, STEROID] > 1.0) + 0.14 * noise[1])
    exhausted = np.maximum(fire - 1.6, 0.0)
    platelets = 222.0 * np.exp(0.42 * chart.of("platelets", at.stay) + 0.08 * noise[2] - 0.28 * exhausted)
    platelets = platelets * np.exp(-0.26 * at.organ(LIVER) - 0.12 * bleeding)
    return {"hemoglobin": hemoglobin, "wbc": white, "platelet_count": platelets}


def differential(chart: Chart, at: Moments, rng: np.random.Generator) -> Values:
    """Shares of the white cells, which sum to 100."""
    noise, fire = rng.standard_normal((5, len(at))), at.organ(INFLAMMATION)
    shift = 0.45 * fire + 0.4 * (at.care[:, STEROID] > 1.0)
    parts = {
        "neutrophils_percent": 66.0 * np.exp(0.10 * noise[0]),
        "lymphocytes_percent": 22.0 * np.exp(-shift + 0.42 * noise[1]),
        "monocytes_percent": 7.5 * np.exp(0.33 * noise[2]),
        "eosinophils_percent": 2.0 * np.exp(-shift + 0.8 * noise[3]),
        "basophils_percent": 0.5 * np.exp(0.5 * noise[4]),
    }
    whole = np.sum(list(parts.values()), axis=0)
    return {name: 100.0 * part / whole for name, part in parts.items()}


def coagulation(chart: Chart, at: Moments, rng: np.random.Generator) -> Values:
    """PT, INR, PTT: the liver, and drugs against clotting."""
    noise = rng.standard_normal((3, len(at)))
    inr = 1.10 + 0.04 * chart.of("inr", at.stay) + 0.34 * at.organ(LIVER) + 0.07 * at.organ(BLEEDING)
    heart = chart.trait(REASON, at.stay) == HEART
    anticoagulated = (chart.of("clotting", at.stay) > 0.9) & (heart | (chart.has(HEART_FAILURE, at.stay) > 0))
    inr = (inr + 1.1 * anticoagulated) * np.exp(0.06 * noise[0])
    ptt = 29.5 + 4.5 * at.organ(LIVER) + 22.0 * (heart & (chart.of("clotting", at.stay) < HEPARIN_BELOW))
    return {
        "pt": 11.6 * inr**0.95 * np.exp(0.02 * noise[1]),
        "inr": inr,
        "ptt": ptt * np.exp(0.11 * noise[2]),
    }


def _albumin(chart: Chart, at: Moments) -> np.ndarray:
    value = (
        3.75 + 0.28 * chart.of("albumin", at.stay) - 0.30 * at.organ(LIVER) - 0.28 * at.organ(INFLAMMATION)
    )
    return value - 0.10 * at.organ(KIDNEY) - 0.008 * (chart.trait(AGE, at.stay) - 60.0)


def liver_panel(chart: Chart, at: Moments, rng: np.random.Generator) -> Values:
    """Enzymes, bilirubin, albumin; shock hurts the liver too."""
    noise, liver = rng.standard_normal((5, len(at))), at.organ(LIVER)
    hypoxic = np.maximum(at.organ(CIRCULATION) - 1.4, 0.0)
    shared = 0.35 * chart.of("liver_enzymes", at.stay) + 0.15 * noise[0]
    chronic = 0.45 * chart.has(CIRRHOSIS, at.stay)  # a burnt-out liver leaks less
    ast = 27.0 * np.exp(shared + 0.85 * (liver - chronic) + 0.75 * hypoxic + 0.12 * noise[1])
    alt = 25.0 * np.exp(shared + 0.78 * (liver - 1.5 * chronic) + 0.65 * hypoxic + 0.15 * noise[2])
    alkaline = 86.0 * np.exp(0.28 * chart.of("alkaline_phosphatase", at.stay) + 0.22 * liver + 0.1 * noise[3])
    bilirubin = 0.52 * np.exp(0.38 * chart.of("bilirubin", at.stay) + 0.78 * liver + 0.12 * noise[4])
    return {
        "alt": alt,
        "ast": ast,
        "alkaline_phosphatase": alkaline,
        "bilirubin_total": bilirubin,
        "albumin": _albumin(chart, at) + 0.12 * rng.standard_normal(len(at)),
    }


def blood_gas(chart: Chart, at: Moments, rng: np.random.Generator) -> Values:
    """Arterial gas: pH from bicarbonate and carbon dioxide (Henderson–Hasselbalch); ionised calcium.

    pH = 6.1 + log₁₀(HCO₃ / (0.0307 pCO₂)), pressures in mmHg.
    """
    noise = rng.standard_normal((4, len(at)))
    bicarbonate, lungs = _bicarbonate(chart, at), at.organ(LUNGS)
    driven = 40.0 - 0.9 * (25.0 - bicarbonate)  # breathing answers acid
    retained = 3.0 * np.maximum(lungs - 1.3, 0.0) + 5.0 * chart.has(COPD, at.stay) * (0.5 + lungs)
    retained = np.where(at.care[:, DEVICE] == IMV, 0.7 * retained, retained)
    carbon = np.maximum(driven + retained + 4.0 * noise[0], 16.0)
    oxygen = arterial_oxygen(at, 0.22 * noise[1])
    acidity = 6.1 + np.log10(np.maximum(bicarbonate, 4.0) / (0.0307 * carbon)) + 0.012 * noise[2]
    return {
        "ph_arterial": acidity,
        "pco2_arterial": carbon,
        "po2_arterial": oxygen,
        "so2_arterial": saturation(oxygen) - 0.5,
        "calcium_ionized": 4.52
        + 0.1 * chart.of("calcium", at.stay)
        - 0.06 * at.organ(KIDNEY)
        + 0.2 * noise[3],
    }


def lactate_alone(chart: Chart, at: Moments, rng: np.random.Generator) -> Values:
    """Lactate."""
    return {"lactate": _lactate(at) * np.exp(0.20 * rng.standard_normal(len(at)))}


def cardiac(chart: Chart, at: Moments, rng: np.random.Generator) -> Values:
    """Troponins: the heart of a heart patient, shock, kidneys that do not clear it."""
    heart = np.isin(chart.trait(REASON, at.stay), (HEART, CARDIAC_SURGERY))
    size = 0.5 * at.organ(KIDNEY) + np.where(heart, 1.3, 0.6) * at.organ(CIRCULATION) + 1.0 * heart
    noise = rng.standard_normal((2, len(at)))
    fades = np.exp(-0.12 * at.day)
    return {
        "troponin_t": 11.0 * np.exp(size * fades + 0.55 * noise[0]),
        "troponin_i": 8.0 * np.exp(1.25 * size * fades + 0.7 * noise[1]),
    }


def inflammation(chart: Chart, at: Moments, rng: np.random.Generator) -> Values:
    """CRP, procalcitonin, ESR, ferritin, LDH."""
    noise, fire = rng.standard_normal((5, len(at))), at.organ(INFLAMMATION)
    own = 0.5 * chart.of("inflammation", at.stay)
    return {
        "crp": 7.0 * np.exp(own + 1.15 * np.minimum(fire, 3.0) + 0.35 * noise[0]),
        "procalcitonin": 0.09 * np.exp(own + 1.4 * fire + 0.3 * at.organ(KIDNEY) + 0.5 * noise[1]),
        "esr": 22.0 * np.exp(0.5 * own + 0.4 * fire + 0.35 * noise[2]),
        "ferritin": 150.0 * np.exp(own + 0.5 * fire + 0.4 * at.organ(LIVER) + 0.5 * noise[3]),
        "ldh": 205.0 * np.exp(0.20 * at.organ(LIVER) + 0.18 * at.organ(LUNGS) + 0.22 * noise[4]),
    }


def fingerstick(chart: Chart, at: Moments, rng: np.random.Generator) -> Values:
    """Glucose at the bedside."""
    return {"glucose_fingerstick": 1.04 * _glucose(chart, at, rng.standard_normal(len(at)))}


class Panel(NamedTuple):
    """What is ordered together: CLIF's order category, minutes to the result (median), and the values."""

    order: str
    minutes: float
    read: Callable[[Chart, Moments, np.random.Generator], Values]


PANELS: dict[str, Panel] = {
    "metabolic": Panel("bmp", 70, metabolic),
    "minerals": Panel("misc", 75, minerals),
    "blood_count": Panel("cbc", 45, blood_count),
    "differential": Panel("cbc", 60, differential),
    "coagulation": Panel("coags", 60, coagulation),
    "liver": Panel("lft", 80, liver_panel),
    "gas": Panel("blood_gas", 9, blood_gas),
    "lactate": Panel("misc", 25, lactate_alone),
    "cardiac": Panel("misc", 65, cardiac),
    "inflammation": Panel("misc", 110, inflammation),
    "fingerstick": Panel("misc", 1, fingerstick),
}
