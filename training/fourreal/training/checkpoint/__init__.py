"""Checkpoints as files: held in memory, written beside training, verified, pruned. Not what they mean."""
