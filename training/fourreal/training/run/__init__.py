"""A stage from its first check to its result: the driver, and what Ray Train runs in every worker."""
