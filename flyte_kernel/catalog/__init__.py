"""Remembers what tasks put out: cache keys, datasets, artifacts, tags and reservations.

Everything here is a pure function or a fold over facts. The engine keeps a `CatalogState` as a part of its own state
and makes the facts durable; the gRPC edge shows it as Flyte's DataCatalog service.
"""
