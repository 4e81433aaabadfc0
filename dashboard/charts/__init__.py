"""Figures as pure functions: frames and arrays in, a Plotly figure out."""
