"""Several changes as one: release units, sequences and ramps (S13, S24)."""
