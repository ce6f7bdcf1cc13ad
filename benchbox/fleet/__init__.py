"""Fleet: devices of many machines as workers of Dask distributed, comparison groups as tasks."""
