"""The fitted maps on disk: what it takes to place another state later, without fitting again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ehrfm_core.dynamics.maps import Maps
from ehrfm_core.dynamics.projection import Projection
from ehrfm_core.errors import UserError
from ehrfm_core.study.files import replacing
from ehrfm_core.study.layout import FITTED_MAPS

_FACTS = ("seed", "limit", "limit_from", "versions")


def save_maps(folder: Path, maps: Maps) -> None:
    """Write `results/maps.safetensors` of the study in `folder`.

    Tensors: mean (D), components (C × D), variance (C), anchors (m × C) and, where there is a UMAP, placed
    (m × 2). The header's `maps` is JSON with the seed, the limit, what it was measured on, and versions.
    """
    projection = maps.projection
    tensors = {
        "mean": projection.mean,
        "components": projection.components,
        "variance": projection.variance,
        "anchors": maps.anchors,
    }
    if maps.placed is not None:
        tensors["placed"] = maps.placed
    facts = json.dumps({name: getattr(maps, name) for name in _FACTS})
    with replacing(folder / FITTED_MAPS) as temporary:
        save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, temporary, {"maps": facts})
        temporary.chmod(0o644)  # safetensors writes for the owner alone; a dashboard may run as someone else


def load_maps(folder: Path) -> Maps:
    """The maps of the study in `folder`; they place a state where those that were fitted did.

    Raises UserError where the file is missing, as in studies of older versions, or broken.
    """
    path = folder / FITTED_MAPS
    again = f"run `python -m train embed {folder}` again"
    if not path.is_file():
        raise UserError(f"{path} is missing: the study was embedded without it; {again}.")
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            facts = json.loads((file.metadata() or {})["maps"])
        projection = Projection(*(tensors[name] for name in ("mean", "components", "variance")))
        return Maps(
            projection, tensors["anchors"], tensors.get("placed"), **{name: facts[name] for name in _FACTS}
        )
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} does not hold the maps of a study ({error!r}); {again}.") from None
