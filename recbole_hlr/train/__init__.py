"""Training: epochs, optimizers, schedules, checkpoints."""
