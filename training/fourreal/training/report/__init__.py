"""What a run shows: metrics, pictures, and how well it uses its device."""
