"""Default properties, as YAML: overall, per model, and more."""
