"""Guard models as monitors: what a reader could install instead of a probe, asked in its own words."""
