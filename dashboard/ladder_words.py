"""What the recovery ladder says, in words that claim no more than the intervals."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import ui
from dashboard.gaps import Estimate, Steps


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
    parts = []
    for sign, verb in ((1, "clearly better"), (-1, "clearly worse")):
        some = [
            f"{ui.inline(one.label)} {figure(one.gain, sign=True)}" + share(one)
            for one in gains
            if one.gain and one.gain.clear == sign
        ]
        if some:
            parts.append(f"{verb} for {_and(some)}")
    left = [ui.inline(one.label) for one in gains if one.left]
    if left:
        parts.append(f"left as it was for {_and(left)}, which the tuning split chose")
    open_ = [
        f"{ui.inline(one.label)} {figure(one.gain, sign=True)}"
        for one in gains
        if one.gain and one.gain.clear == 0 and not one.left
    ]
    if open_:
        parts.append(f"no clear change for {_and(open_)}")
    return [*words, f"**What local data bring** ({way}): {'; '.join(parts)}."]


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


def verdict(one: Steps) -> str:
    """What is said of an outcome under its name: what is lost, and how much of it comes back."""
    if one.home is None or (one.away is None and one.gap is None):
        return "nothing to rank" if one.home is None else ""
    if one.gap is None or one.gap.clear == 0:
        return "no clear gap"
    if one.gap.clear == -1:
        return f"gains {-one.gap.value:.2f} there"
    back = one.recovered
    if back is None:
        return f"loses {one.gap.value:.2f}"
    return f"loses {one.gap.value:.2f}, {_recovered(back)}"


def _recovered(back: Estimate) -> str:
    return f"{100 * back.value:.0f} % recovered" if back.clear == 1 else "none clearly recovered"


def share(one: Steps) -> str:
    """The share of a loss that comes back, with its interval, where there clearly is one."""
    back = one.recovered
    if back is None or back.clear != 1 or back.low is None or back.high is None:
        return ""
    low, high = 100 * back.low, 100 * back.high
    return f", {100 * back.value:.0f} % of the loss [{low:.0f} to {high:.0f} %]"


def _lost(worst: Sequence[Steps], home: str, target: str) -> str:
    first = worst[0]
    assert first.gap
    assert first.home
    assert first.away
    words = (
        f"**{first.label} moves worst:** AUC {first.home.value:.3f} at {home}, {first.away.value:.3f} "
        f"at {target} with the model unchanged, a loss of {figure(first.gap)}."
    )
    if more := [f"{ui.inline(one.label)} {figure(one.gap)}" for one in worst[1:]]:
        words += f" Clear losses too: {_and(more)}."
    near = [
        ui.inline(one.label)
        for one in worst[1:]
        if one.gap and one.gap.high is not None and first.gap.low is not None and one.gap.high > first.gap.low
    ]
    return words + (f" Which of them is worst is not clear: {_and(near)} may lose as much." if near else "")


def _none(known: Sequence[Steps], target: str) -> str:
    largest = max(known, key=lambda one: one.gap.value if one.gap else 0.0)
    return (
        f"**No outcome is clearly worse at {target}:** the largest gap is that of "
        f"{ui.inline(largest.label)}, {figure(largest.gap)}."
    )


def _and(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
