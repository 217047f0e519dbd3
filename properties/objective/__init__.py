"""Default properties of each model."""
