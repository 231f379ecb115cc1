"""What evaluation costs and how well reconstruction fits.

    python tests/benchmarks/evaluate.py [--quick] [--json FILE] [--grids DIR]

fvd_pipeline_vs_network    scoring grids under FVD, from shards to numbers, over what the network alone takes (CPU time)
fvd_second_model_vs_first  scoring another model of the same references, over scoring the first one
raster_s                   forward and backward of 20,000 Gaussians at 96x160, seconds, on two threads
raster_vs_dense            the same with every Gaussian at every pixel (torch, autograd), over raster_s
fit_psnr_db                held-out views of a rendered 8x8 grid, whole image
fit_foreground_psnr_db     the same over the foreground
fit_s                      seconds of that fit, on one thread
page_open_s                a page of 64 grids of 8x8 at 96x160, from asking for it to its first frame, in Chromium
scrub_fps                  frames a second that are right one animation frame after the pointer moved (60: all)

The fit needs shards of a rendered grid at 96x160 (`fourreal render --assets FILE.glb`), named by --grids; without it,
a procedural asset is rendered first. With --quick the fit has 400 steps in place of 1000.
"""

from __future__ import annotations

import sys

import evaluate_fit
import evaluate_fvd
import evaluate_page
import evaluate_raster
from reporting import Benchmark


def main() -> None:
    """Measure all."""
    folder = None
    if "--grids" in sys.argv:
        place = sys.argv.index("--grids")
        folder = sys.argv[place + 1]
        del sys.argv[place : place + 2]
    benchmark = Benchmark(__doc__)
    evaluate_raster.measure(benchmark)
    evaluate_fvd.measure(benchmark)
    evaluate_page.measure(benchmark)
    evaluate_fit.measure(benchmark, folder)
    benchmark.finish()


if __name__ == "__main__":
    main()
