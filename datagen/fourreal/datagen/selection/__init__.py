"""Which clips of ordinary video are worth a grid: statistics, filters, still scenes, near-duplicates."""
