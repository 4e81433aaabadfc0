"""Quantile bins, vocabulary and timelines: the paper's category–value tokens."""
