"""Grids and captions as latents and embeddings, before training: what `fourreal precompute` computes."""
