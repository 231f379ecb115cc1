"""Plan-based data jobs on Ray Data: every grid exactly once, whatever is killed.

A job lists its *items* once into a *plan* beside the output; the plan assigns items to shards and never depends
on the size of the cluster. One Ray task makes one shard. An item that fails goes to `quarantine/` with a reason
and never fails the job. A shard whose index record exists is done; a rerun makes the others, with the bytes that
an undisturbed run would have made.
"""

from fourreal.platform.datajob.estimate import Estimate, estimate_data_job
from fourreal.platform.datajob.items import Item, ItemFailure, Processor
from fourreal.platform.datajob.job import DataJob, run_data_job
from fourreal.platform.datajob.preparation import Preparation, Preparer
from fourreal.platform.datajob.preview import Preview, preview_data_job
from fourreal.platform.datajob.quarantine import QuarantineRecord, list_quarantine
from fourreal.platform.datajob.summary import JobSummary

__all__ = [
    "DataJob",
    "Estimate",
    "Item",
    "ItemFailure",
    "JobSummary",
    "Preparation",
    "Preparer",
    "Preview",
    "Processor",
    "QuarantineRecord",
    "estimate_data_job",
    "list_quarantine",
    "preview_data_job",
    "run_data_job",
]
