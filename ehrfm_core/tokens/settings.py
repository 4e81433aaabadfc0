"""What can be set about tokens, and the presets: the paper's scheme and what goes beyond it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from ehrfm_core.errors import UserError
from ehrfm_core.outcomes import WINDOW_HOURS

SCHEMES = ("paper", "fused")
BINS = ("quantile", "reference")
LABS = ("coarse", "fine")
MOST_BINS = 100
_LATER = ("history",)  # settings that older studies do not name
_TYPES: dict[str, Any] = {
    "n_bins": int,
    "spacing": bool,
    "window_hours": int | float,
    "max_tokens": int,
    "history": bool,
}
LONGEST_HOURS = 8640.0  # 360 days; minutes are float32, exact to the second up to a year


@dataclass(frozen=True)
class TokenSettings:
    """Settings of the tokens; the defaults are the paper's.

    `scheme`: a category token followed by a shared value token (`paper`), or code and bin in one (`fused`).
    `n_bins`: quantile bins a category. `bins`: `reference` puts labs whose reference range CLIF gives into
    LOW, NORMAL and HIGH. `spacing`: a token for each gap of five minutes or more. `labs`: `fine` keeps
    specimen and order apart. `window_hours`: what the model sees of a stay; `more_windows` are counted and
    kept beside it (None: the whole stay). `max_tokens`: what the model reads at once. `history`: the
    patient's earlier stays stand before the window and take up to half of that.
    """

    scheme: str = "paper"
    n_bins: int = 10
    bins: str = "quantile"
    spacing: bool = False
    labs: str = "coarse"
    window_hours: float = WINDOW_HOURS
    more_windows: tuple[float | None, ...] = field(default=())
    max_tokens: int = 1024
    history: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "more_windows", tuple(self.more_windows))
        for name, known in (("scheme", SCHEMES), ("bins", BINS), ("labs", LABS)):
            if getattr(self, name) not in known:
                raise UserError(f"{name} {str(getattr(self, name))[:40]!r} is none of {', '.join(known)}.")
        for name, kind in _TYPES.items():
            value = getattr(self, name)
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise UserError(f"{name} cannot be {str(value)[:40]!r}.")
        if not 2 <= self.n_bins <= MOST_BINS:
            raise UserError(f"{self.n_bins} bins cannot be made; give 2 to {MOST_BINS}.")
        windows = [self.window_hours, *(hours for hours in self.more_windows if hours is not None)]
        if not all(isinstance(hours, int | float) and 0 < hours < LONGEST_HOURS for hours in windows):
            raise UserError("A window must be longer than 0 hours and shorter than 360 days.")
        if self.max_tokens < 8:
            raise UserError(f"{self.max_tokens} tokens cannot hold a window; give 8 or more.")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TokenSettings:
        """The settings among the keys of `value`; KeyError where one is missing that every version had."""
        return cls(**{f.name: value[f.name] for f in fields(cls) if f.name in value or f.name not in _LATER})

    @property
    def window_tokens(self) -> int:
        """Longest window, in tokens.

        With `history` half of what the model reads, whatever stood before: if a short window left more room
        for earlier stays, what comes late in it would change what is read at its beginning.
        """
        return self.max_tokens // 2 if self.history else self.max_tokens

    @property
    def windows(self) -> tuple[float | None, ...]:
        """Every window of the study, the model's first; None is the whole stay."""
        return tuple(dict.fromkeys((self.window_hours, *self.more_windows)))


PRESETS: dict[str, TokenSettings] = {
    "paper": TokenSettings(),
    "fused": TokenSettings(scheme="fused"),
    "ventiles": TokenSettings(n_bins=20),
    "spacing": TokenSettings(spacing=True),
    "reference": TokenSettings(bins="reference"),
    "fine-labs": TokenSettings(labs="fine"),
}
