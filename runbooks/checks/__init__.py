"""The rules of runbook-format.md that need more than one field: the catalogue, the drill's alert, the prose."""
