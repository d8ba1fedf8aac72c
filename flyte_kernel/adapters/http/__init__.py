"""HTTP: the S3-compatible blob endpoint."""
