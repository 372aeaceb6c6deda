"""The REST API of a portal: one call, calls gathered into batches, their answers and limits."""
