"""What every job stands on: grids, cameras, storage, shards, configuration, tracking, Ray and the command line."""
