"""Many requests in one job: a table in, a data set out, on one machine or on a cluster.

One direction: table -> checks -> batches -> engine (workers) -> store. What a request is known by is its id; what is stored
under it says which request it answers.
"""

from imagpose.serving.bulk.job import BulkReport, check_bulk, run_bulk
from imagpose.serving.bulk.table import BulkRequest, read_table

__all__ = ["BulkReport", "BulkRequest", "check_bulk", "read_table", "run_bulk"]
