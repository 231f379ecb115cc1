"""From folders of shards to batches: which grid comes when, and what of it is decoded."""
