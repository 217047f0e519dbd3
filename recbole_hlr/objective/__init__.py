"""What a model is trained towards."""
