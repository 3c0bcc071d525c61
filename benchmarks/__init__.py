"""How fast the runner is, as ratios measured in one run."""
