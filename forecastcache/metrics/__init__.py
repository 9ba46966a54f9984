"""Metrics: figures of samples beside the plain ones, one a file. `metric` has the contract."""
