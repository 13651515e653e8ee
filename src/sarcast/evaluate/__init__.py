"""How good a score is, with an interval: curves, bootstrap, matching. No torch."""
