"""Jobs that make grids: rendered from animated 3D assets, or synthesized from ordinary video."""
