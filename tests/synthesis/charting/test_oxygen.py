from __future__ import annotations

import numpy as np
import pytest

from ehrfm_core.synthesis.charting.oxygen import (
    ROOM_AIR_FRACTION,
    arterial_oxygen,
    end_expiratory,
    inspired,
    litres,
    saturation,
)
from ehrfm_core.synthesis.latent.care import CANNULA, COLLAR, DEVICES, HIGH_FLOW, IMV, MASK, NIPPV, ROOM_AIR
from tests.synthesis.charting.make_moments import moments
from tests.synthesis.make_hospital import Simulated


def ramp(base: Simulated) -> np.ndarray:
    """Lungs from healthy to failing, one a stay."""
    return np.linspace(0, 5, len(base.stays.hours))


@pytest.mark.parametrize("device", range(len(DEVICES)), ids=DEVICES)
def test_worse_lungs_get_more_oxygen_and_still_have_less_in_the_blood(base: Simulated, device: int) -> None:
    at = moments(base.chart, lungs=ramp(base), device=device)
    fraction, flow = inspired(at), litres(at)
    assert (np.diff(fraction) >= 0).all()
    assert fraction.min() >= ROOM_AIR_FRACTION
    assert fraction.max() <= 1
    assert np.isnan(flow).all() == (device in (ROOM_AIR, NIPPV, IMV))
    if not np.isnan(flow).any():
        assert (np.diff(flow) >= 0).all()
        assert flow.min() >= 1
        assert flow.max() <= 60
    ratio = arterial_oxygen(at) / fraction
    free = (arterial_oxygen(at) > 30) & (arterial_oxygen(at) < 550)
    assert (np.diff(ratio[free]) < 0).all()


def test_the_pf_ratio_is_that_of_the_docstring(base: Simulated) -> None:
    for lungs, ratio in ((0.0, 430), (2.5, 160), (4.0, 87)):
        at = moments(base.chart, lungs=lungs, device=IMV)
        assert (arterial_oxygen(at) / inspired(at))[0] == pytest.approx(ratio, rel=0.02)
        prone = moments(base.chart, lungs=lungs, device=IMV, prone=5.0)
        if lungs:
            assert arterial_oxygen(prone)[0] > 1.15 * arterial_oxygen(at)[0]


def test_devices_step_up(base: Simulated) -> None:
    given = [
        inspired(moments(base.chart, lungs=2.0, device=device))[0]
        for device in (ROOM_AIR, CANNULA, MASK, HIGH_FLOW)
    ]
    assert given == sorted(given)
    assert inspired(moments(base.chart, device=COLLAR))[0] > ROOM_AIR_FRACTION


def test_peep_rises_within_its_range(base: Simulated) -> None:
    peep = end_expiratory(moments(base.chart, lungs=ramp(base), device=IMV))
    assert (np.diff(peep) >= 0).all()
    assert (peep[0], peep.max()) == (5, 15)


def test_saturation_rises_to_a_hundred() -> None:
    found = saturation(np.linspace(20, 550, 100))
    assert (np.diff(found) > 0).all()
    assert 99.9 < found[-1] < 100
