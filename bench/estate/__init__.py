"""All benchmarks of the estate domain in one run."""
