"""Event maps, MEDS maps and files of outcomes that somebody means badly with."""

from __future__ import annotations

import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ehrfm_core.clif.event_map import MAPS, EventMap, load_map
from ehrfm_core.clif.outcome_file import OwnOutcome, load_outcomes
from ehrfm_core.clif.yaml_file import read_yaml
from ehrfm_core.errors import UserError
from ehrfm_core.sources.meds import _roles
from tests.hostile.nasty import TEXT, examples, sentence, spoilt

ROOT = Path(__file__).parents[2]
FILES: dict[str, tuple[Path, Callable[[Path], Any]]] = {
    "event map": (MAPS / "all.yaml", lambda path: load_map(str(path))),
    "MEDS map": (MAPS / "meds.yaml", _roles),
    "outcomes": (ROOT / "data_samples/outcomes.yaml", load_outcomes),
}
BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
HOSTILE = {
    "a thousand million lists": BOMB,
    "holds itself": "&a [*a]",
    "deep": "[" * 900 + "]" * 900,
    "deeper": "[" * 100_000,
    "deep blocks": "".join(" " * i + "- \n" for i in range(300)),
    "a date": "format: 2024-13-45",
    "a date that is one": "format: 2024-01-01",
    "no number": "format: 0x_",
    "digits": "format: " + "9" * 5000,
    "a tag": "format: !!int ''",
    "code": "format: !!python/object/apply:os.system [touch pwned]",
    "twice": "format: 1\nformat: 1\nevents: []",
    "merged": "x: &x {a: 1}\ny:\n  <<: *x",
    "a list as key": "? [a]\n: b",
    "a null byte": 'format: "a\\0b"',
    "a null byte as it is": "format: a\0b",
    "half a pair": 'format: "\\ud800"',
    "long": "format: '" + "x" * 100_000 + "'",
    "longer": "#" * 3_000_000,
    "equals": "format: =",
    "two documents": "a: 1\n---\nb: 2",
    "nothing": "",
}


def told(read: Callable[[Path], Any], path: Path) -> Any:
    """What is read, or None after one sentence that names the file."""
    try:
        return read(path)
    except UserError as error:
        return None if path.name in sentence(error) else "a file without a name"


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_one_sentence(
    tmp_path: Path, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "mine.yaml"
    path.write_text(HOSTILE[name], encoding="utf-8")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert told(FILES[kind][1], path) is None
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kB"
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("kind", FILES)
def test_what_ships_spoilt_anywhere_is_read_or_one_sentence(tmp_path: Path, kind: str) -> None:
    source, read = FILES[kind]
    path = tmp_path / "mine.yaml"

    @examples(12)
    @given(spoilt(yaml.safe_load(source.read_text(encoding="utf-8"))))
    def check(value: Any) -> None:
        path.write_bytes(yaml.safe_dump(value, allow_unicode=True).encode(errors="replace"))
        found = told(read, path)
        assert found != "a file without a name"
        if isinstance(found, EventMap):
            assert EventMap.from_json(found.to_json())
        for own in found if kind == "outcomes" and found else ():
            OwnOutcome.from_json(own.to_json())

    check()


@examples(40)
@given(st.text(alphabet=st.sampled_from("[]{}:-?&*!|>%@`'\"#, \n\tab01.e~<=\\u"), max_size=40) | TEXT)
def test_any_text_is_data_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode(errors="surrogatepass"))
    with suppress(UnicodeDecodeError):
        told(read_yaml, path)


def test_an_alias_that_saves_words_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("a: &a [x, y]\nb: *a")
    assert read_yaml(path) == {"a": ["x", "y"], "b": ["x", "y"]}
