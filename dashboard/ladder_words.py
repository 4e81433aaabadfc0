"""What the recovery ladder says, in words that claim no more than its intervals."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import ui
from dashboard.gaps import Estimate, Steps

BLANK = "\u00a0"  # an empty last line Plotly drops, and the name would stand lower than its neighbours


def said(found: Sequence[Steps], home: str, target: str, way: str) -> list[str]:
    """Which outcome loses most, and what local data bring: a sentence each."""
    known = [one for one in found if one.gap]
    if not known:
        return ["**Nothing to compare:** no outcome has an AUC at both hospitals."]
    worst = sorted((one for one in known if one.gap.clear == 1), key=lambda one: -one.gap.value)  # type: ignore[union-attr]
    words = [_lost(worst, home, target) if worst else _none(known, target)]
    gains = [one for one in found if one.gain]
    if not gains:
        return [*words, "**Local data:** this study has no such run of this model."]
    better, worse, open_ = (
        [one for one in gains if one.gain and one.gain.clear == sign and not one.left] for sign in (1, -1, 0)
    )
    parts = [
        f"{verb} for {_and([f'{ui.inline(one.label)} {figure(one.gain, sign=True)}' for one in some])}"
        for verb, some in (
            ("clearly better", better),
            ("clearly worse", worse),
            ("no clear change", open_),
        )
        if some
    ]
    if left := [ui.inline(one.label) for one in gains if one.left]:
        which = "all of them" if len(left) == len(found) > 1 else _and(left)
        parts.append(f"the tuning split chose to leave the model as it was for {which}")
    return [*words, f"**Local data** ({way}): {'; '.join(parts)}."]


def figure(estimate: Estimate | None, *, sign: bool = False) -> str:
    """A figure with its interval, or that it has none.

    >>> figure(Estimate(0.2, 0.1, 0.3), sign=True), figure(Estimate(0.2, None, None))
    ('+0.200 [+0.100 to +0.300]', '0.200 (too few events for an interval)')
    """
    if estimate is None:
        return "unknown"
    spec = "+.3f" if sign else ".3f"
    if estimate.low is None:
        return f"{estimate.value:{spec}} (too few events for an interval)"
    return f"{estimate.value:{spec}} [{estimate.low:{spec}} to {estimate.high:{spec}}]"


def verdict(one: Steps, target: str | None = None) -> str:
    """Two lines under an outcome's name: what is lost, how much of it comes back; one, of one hospital."""
    if one.home is None:
        return f"nothing to rank<br>{BLANK}" if target else "nothing to rank"
    if one.gap is None:
        return f"nothing to rank at {target}<br>{BLANK}" if target else BLANK
    if one.gap.clear == 0:
        return "no clear gap<br>" + ("few events" if one.gap.low is None else BLANK)
    low, high = sorted(abs(bound) for bound in (one.gap.low or 0.0, one.gap.high or 0.0))
    size = f"{abs(one.gap.value):.2f} [{low:.2f}–{high:.2f}]"
    if one.gap.clear == -1:
        return f"gains {size}<br>{BLANK}"
    return f"loses {size}<br>" + (f"recovered {share(one)}" if one.recovered else BLANK)


def share(one: Steps) -> str:
    """The share of a loss that comes back, with its interval; or why there is none."""
    back = one.recovered
    if back is None or back.low is None or back.high is None:
        return "no clear gap" if one.gap is None or one.gap.clear != 1 else "—"
    return f"{100 * back.value:.0f} % [{100 * back.low:.0f} to {100 * back.high:.0f}]"


def _lost(worst: Sequence[Steps], home: str, target: str) -> str:
    first, *others = worst
    assert first.gap
    assert first.home
    assert first.away
    low = first.gap.low or 0.0
    near = [ui.inline(o.label) for o in others if o.gap and o.gap.high is not None and o.gap.high > low]
    size = (
        f"a loss of {figure(first.gap)} in AUC, from {first.home.value:.3f} at {home} to "
        f"{first.away.value:.3f} at {target} with the model unchanged"
    )
    if near:
        return (
            f"**{first.label} loses most:** {size}. That it is the worst is not clear, since "
            f"{_and(near)} may lose as much."
        )
    words = f"**{first.label} moves worst:** {size}."
    if others:
        words += f" Clear losses too: {_and([f'{ui.inline(o.label)} {figure(o.gap)}' for o in others])}."
    return words


def _none(known: Sequence[Steps], target: str) -> str:
    largest = max(known, key=lambda one: one.gap.value if one.gap else 0.0)
    words = (
        f"**No outcome is clearly worse at {target}:** the largest gap is that of "
        f"{ui.inline(largest.label)}, {figure(largest.gap)}."
    )
    untold = [ui.inline(one.label) for one in known if one.gap and one.gap.low is None]
    if not untold:
        return words
    return f"{words} That is no sign that all is well: for {_and(untold)} there are too few events to tell."


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
