"""How the workers of a stage stay together: what they agree on, how they stop, and who holds the others up."""
