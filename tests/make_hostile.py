"""A made study whose every name is an attack: ids, categories, tokens, notes, definitions, its own folder.

Site names and labels of outcomes are not among them: a study with such a name does not open at all.
"""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from tests.make_own import OWN, make_own_study
from tests.make_run import make_run
from tests.reseal import reseal

MARK = "hxss"
IMAGE = f"<img src=x onerror=alert(1) class={MARK}>"
LINK = f"[{MARK}](javascript:alert(1))"
PICTURE = f"![{MARK}](http://hxss.example/a.png)"
FORMULA = '=HYPERLINK("http://hxss.example","x")'
ANCHOR = f"<a href='http://hxss.example' class={MARK}>click</a>"
ATTACKS = (
    f"{IMAGE}{LINK}",
    f"{PICTURE}$x^2$",
    f"{FORMULA}{ANCHOR}",
    f"@{MARK} :red[x] %{{customdata}} </script><script>alert(1)</script>",
    f"`{MARK}` **b** http://hxss.example www.hxss.example ~~s~~",
    f"{MARK}\n# heading\n\n- item\n\n    code",
)
STUDY = f"=1 [{MARK}](x) <img src=x onerror=alert(1)> $y$"
ID = "hospitalization_id"


def make_hostile_study(studies: Path) -> Path:
    """Write it into a folder of `studies` whose name is an attack as well; return it."""
    folder = make_own_study(studies / STUDY, sites={"mimic": 90, "ucmc": 60})
    make_run(folder, device=ATTACKS[0], reason=ATTACKS[1], starts_from=ATTACKS[4])
    tokens = {
        "lab/potassium": f"lab/{ATTACKS[0]}",
        "vital/heart_rate": f"vital/{ATTACKS[3]}",
        "lab/sodium": f"lab/{ATTACKS[4]}",
        "medication/insulin": f"{ANCHOR}/{ATTACKS[2]}",
    }
    names = {code.split("/", 1)[1]: told.split("/", 1)[1] for code, told in tokens.items()}
    races = {"White": ATTACKS[1], "Asian": ATTACKS[2]}
    for path in folder.rglob("*.parquet"):
        frame = pl.read_parquet(path, glob=False)
        swaps = {"race": races, "code": tokens, "name": names, "token": tokens}
        frame = frame.with_columns(
            pl.col(column).replace(swap) for column, swap in swaps.items() if column in frame.columns
        )
        frame = frame.with_columns(_ids(column) for column in (ID, "earlier_id") if column in frame.columns)
        frame.write_parquet(path)
    for name in ("tokenizer.json",):
        content = json.loads((folder / name).read_text())
        for key in ("vocabulary", "cut_points"):
            content[key] = {tokens.get(code, code): value for code, value in content[key].items()}
        content["events"]["name"] = ATTACKS[4]
        (folder / name).write_text(json.dumps(content))
    manifest = json.loads((folder / "study.json").read_text())
    for stage in manifest["stages"].values():
        stage["notes"] += list(ATTACKS)
        stage["settings"] |= {attack: attack for attack in ATTACKS[:2]}
    manifest["stages"]["tokenize"]["settings"]["outcomes"][0]["definition"] = " ".join(ATTACKS)
    manifest["packages"] |= {attack: attack for attack in ATTACKS}
    (folder / "study.json").write_text(json.dumps(manifest))
    reseal(folder)
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model/README.md").write_text("\n\n".join(("# Card", *ATTACKS)))
    return folder


def _ids(column: str) -> pl.Expr:
    """Every fifth stay or so has an attack before its id."""
    number = pl.col(column).str.slice(1).cast(pl.Int64, strict=False)
    hostile = pl.lit(None, dtype=pl.String)
    for i, attack in enumerate(ATTACKS):
        hostile = pl.when(number % 7 == i).then(pl.lit(attack + " ") + pl.col(column)).otherwise(hostile)
    return pl.coalesce(hostile, pl.col(column)).alias(column)


__all__ = ["ATTACKS", "MARK", "OWN", "STUDY", "make_hostile_study"]
