"""The HTTP edge: for now the blob endpoint."""
