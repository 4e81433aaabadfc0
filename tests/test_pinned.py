"""What is installed is what is pinned, down to what the packages need in their turn."""

from __future__ import annotations

import re
from importlib.metadata import requires, version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FILES = ("requirements.txt", "requirements-dev.txt", "constraints.txt")


def written(file: str) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / file).read_text().splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def name(requirement: Requirement) -> str:
    return re.sub(r"[-_.]+", "-", requirement.name).lower()


def needed(first: list[Requirement]) -> set[str]:
    """Names of everything that these packages bring with them here."""
    seen: set[tuple[str, frozenset[str]]] = set()
    open_ = list(first)
    while open_:
        one = open_.pop()
        mark = (name(one), frozenset(one.extras))
        if mark in seen:
            continue
        seen.add(mark)
        more = map(Requirement, requires(one.name) or [])
        open_ += [
            m for m in more if not m.marker or any(m.marker.evaluate({"extra": e}) for e in ("", *one.extras))
        ]
    return {found for found, _ in seen}


def test_every_package_is_pinned_and_none_has_another_version() -> None:
    pins = {name(one): str(one.specifier) for file in FILES for one in written(file)}
    assert all(re.fullmatch(r"==[^*,]+", pin) for pin in pins.values()), pins
    here = needed([one for file in FILES[:2] for one in written(file)])
    # a build for GPUs has packages of its own, which torch pins itself
    own = {one for one in here if one.startswith(("nvidia-", "cuda-")) or one == "triton"}
    assert here - own <= pins.keys(), sorted(here - own - pins.keys())
    other = {one: found for one in here - own if (found := version(one).partition("+")[0]) != pins[one][2:]}
    assert not other, "what is installed is not what is pinned: make environment"
