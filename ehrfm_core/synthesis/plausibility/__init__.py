"""Synthetic hospitals beside the paper's tables and beside a real hospital."""
