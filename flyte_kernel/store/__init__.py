"""Where things are kept: views for queries, blobs."""
