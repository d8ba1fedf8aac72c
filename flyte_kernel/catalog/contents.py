"""Where the literals of artifacts lie: one blob each, below a folder of the artifact's own.

The layout is the reference's: `<base>/metadata/<project>/<domain>/<dataset>/<version>/<artifact>/<name>/data.pb`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from flyteidl.core import literals_pb2

from flyte_kernel.catalog.keys import DatasetKey

__all__ = ["data_uri", "read_literals", "write_literals"]


def data_uri(base_uri: str, dataset: DatasetKey, artifact: str, name: str) -> str:
    """Return the URI of one literal; no name, whatever is in it, leads out of its folder."""
    path = "/".join(quote(part, safe="") for part in (*dataset, artifact, name))
    return f"{base_uri}/metadata/{path}/data.pb"


def write_literals(
    base_uri: str,
    write: Callable[[str, bytes], None],
    dataset: DatasetKey,
    artifact: str,
    literals: Mapping[str, literals_pb2.Literal],
) -> None:
    """Write an artifact's literals."""
    for name, literal in literals.items():
        write(data_uri(base_uri, dataset, artifact, name), literal.SerializeToString())


def read_literals(
    base_uri: str, read: Callable[[str], bytes], dataset: DatasetKey, artifact: str, names: Sequence[str]
) -> dict[str, literals_pb2.Literal]:
    """Read an artifact's literals; what `read` raises goes to the caller."""
    literals = {}
    for name in names:
        literals[name] = literals_pb2.Literal.FromString(read(data_uri(base_uri, dataset, artifact, name)))
    return literals
