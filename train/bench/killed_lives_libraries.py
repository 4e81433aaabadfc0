"""What every life of `killed_lives` needs, imported and compiled once, before it is forked."""

import numpy as np
import sklearn.ensemble
import sklearn.linear_model
import torch
import transformers

import train.__main__
import train.embed
import train.evaluate
import train.finetune
import train.local_training
import train.pretrain
import train.tokenize
from ehrfm_core.dynamics.map_fitting import fit_maps

__all__ = ["sklearn", "torch", "train", "transformers"]

# UMAP compiles for half a minute, which no kill is to hit again and again
_states = np.random.default_rng(0).normal(size=(400, 16)).astype(np.float32)
fit_maps(_states[:300], seed=0, held_out=_states[300:]).place(_states)
