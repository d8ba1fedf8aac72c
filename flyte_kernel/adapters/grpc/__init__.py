"""Flyte 1's gRPC services over grpcio's sync server.

`server.py` listens, `services.py` turns descriptors into handlers, `errors.py` exceptions into statuses; `admin.py`,
`executions.py` and `data_proxy.py` hold the RPCs.
"""
