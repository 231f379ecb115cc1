"""The model of view-time grids and the jobs that fit it."""
