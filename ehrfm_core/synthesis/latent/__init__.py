"""The state of a stay that nobody sees, and how patient and hospital act on it."""
