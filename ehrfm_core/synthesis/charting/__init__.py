"""What is written down of a stay: when, and with which value."""
