"""Recipes: small programs around the core that answer one question each, `python -m train.recipes.NAME`."""
