"""From FlyteIDL templates to compiled closures and, from those, to graphs with their tables.

Pure functions over protobuf messages: no I/O, no clock, no storage. The rules and texts are those of Flyte 1's compiler
and admin, so that an unmodified client sees the same closures and the same refusals. Begin with `workflow.py`
(registration) and `program.py` (what the engine runs).
"""
