"""Generating grids with a trained model, measuring them beside baselines, and looking at them."""
