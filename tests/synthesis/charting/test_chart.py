from __future__ import annotations

import numpy as np
import pytest

from ehrfm_core.synthesis.charting.chart import OWN, every, severity_of
from ehrfm_core.synthesis.latent.care import DEVICE, IMV
from ehrfm_core.synthesis.latent.physiology import LUNGS
from tests.synthesis.make_hospital import Simulated


def test_a_moment_lies_between_two_hours(base: Simulated) -> None:
    chart, stays = base.chart, base.stays
    rows = np.arange(0, len(chart.row), 97)
    for share in (0.0, 0.25, 0.9):
        at = chart.moments(rows, np.full(len(rows), share))
        inside = (chart.hour[rows] + share) * 60 < chart.minutes[chart.stay[rows]]
        kept = rows[inside]
        assert (at.stay == chart.stay[kept]).all()
        assert (at.minute == chart.hour[kept] * 60 + int(share * 60)).all()
        before, after = stays.organs[chart.row[kept]], stays.organs[chart.row[kept] + 1]
        assert np.allclose(at.x, before + np.float32(share) * (after - before), atol=1e-5)
        assert np.allclose(at.severity, severity_of(at.x), atol=1e-4)
        assert np.allclose(at.day, at.minute / 1440)
        assert ((at.clock >= 0) & (at.clock < 24)).all()


def test_care_changes_at_its_moment_and_not_before(base: Simulated) -> None:
    chart, stays = base.chart, base.stays
    device = chart.care_of(DEVICE)
    rows = np.flatnonzero((chart.stay[1:] == chart.stay[:-1]) & (device[:-1] != IMV) & (device[1:] == IMV))
    assert len(rows) > 200
    moment = stays.moment[chart.row[rows]].astype(float)
    before, after = chart.moments(rows, moment - 1 / 60), chart.moments(rows, moment)
    assert (before.care[:, DEVICE] != IMV).all()
    assert (after.care[:, DEVICE] == IMV).all()
    assert (after.minute == np.round((chart.hour[rows] + moment) * 60)).all()


def test_nothing_is_read_after_the_end(base: Simulated) -> None:
    chart = base.chart
    last = np.flatnonzero(np.diff(chart.stay, append=-1) != 0)
    assert (np.ceil(base.stays.hours) - 1 == chart.hour[last]).all()
    at = chart.moments(last, np.full(len(last), 0.999))
    assert len(at) == 0  # every stay ends a minute or more before its last hour is over
    at = chart.moments(last, np.zeros(len(last)))
    assert len(at) == len(last)


@pytest.mark.parametrize("interval", [1.0, 4.0, 12.0])
def test_what_is_due_every_some_hours_is_done_then(base: Simulated, interval: float) -> None:
    chart = base.chart
    phase = np.random.default_rng(0).integers(0, 24, len(base.stays.hours))
    rows = np.flatnonzero(every(chart, np.full(len(chart.stay), interval), phase))
    same = chart.stay[rows][1:] == chart.stay[rows][:-1]
    assert (np.diff(chart.hour[rows])[same] == interval).all()
    first = chart.hour[rows[np.flatnonzero(np.diff(chart.stay[rows], prepend=-1))]]
    assert set(first) == set(range(int(interval)))  # not all at one time of the day
    assert not every(chart, np.zeros(len(chart.stay)), phase).any()


def test_what_is_ones_own_stays(base: Simulated) -> None:
    chart = base.chart
    assert base.chart.own.shape == (len(base.patients.age), len(OWN))
    again = np.flatnonzero(np.diff(base.stays.patient) == 0)
    assert (chart.of("sodium", again) == chart.of("sodium", again + 1)).all()
    assert np.std(chart.of("sodium", np.arange(len(base.stays.hours)))) > 0.9
    assert chart.moments(np.array([0]), np.array([0.0])).organ(LUNGS) >= 0
