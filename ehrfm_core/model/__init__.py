"""Sizes, pretraining and checkpoints."""
