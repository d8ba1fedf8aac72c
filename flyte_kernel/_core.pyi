"""The compiled core: the reference page of everything that crosses into Rust."""

__version__: str
