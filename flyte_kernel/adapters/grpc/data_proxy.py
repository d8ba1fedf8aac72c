"""DataProxyService: where clients put code and files, and how they read data by flyte:// URLs."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from urllib.parse import urlsplit

from flyteidl.core import literals_pb2
from flyteidl.service import dataproxy_pb2
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from flyte_kernel.engine import messages
from flyte_kernel.engine.backend import Backend
from flyte_kernel.engine.ports import BlobNotFoundError
from flyte_kernel.engine.records import ExecutionRecord
from flyte_kernel.engine.validation import not_found
from flyte_kernel.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from flyte_kernel.ids import ExecutionId

__all__ = ["DataProxyService"]

_MD5_METADATA = "flyteContentMD5"
_MD5_BYTES = 16
_RANDOM_NAME_LENGTH = 20
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_PART = "[a-zA-Z0-9_-]+"
_FLYTE_URL = re.compile(
    rf"flyte://v1/(?P<project>{_PART})/(?P<domain>{_PART})/(?P<execution>{_PART})/(?P<node>{_PART})"
    rf"(?:/(?P<attempt>[0-9]{{1,9}}))?/(?:(?P<kind>[iod])|(?P<map>[io])/(?P<literal>{_PART}))",
    re.ASCII,
)


class DataProxyService:
    """One method for each RPC that is served."""

    def __init__(self, engine: Backend) -> None:
        self._engine = engine

    def CreateUploadLocation(
        self, request: dataproxy_pb2.CreateUploadLocationRequest
    ) -> dataproxy_pb2.CreateUploadLocationResponse:
        """Return a URL for one PUT, under a name made of the content's MD5 or of what the client asks for."""
        if not request.project or not request.domain:
            raise InvalidArgumentError("project and domain are required parameters")
        if not request.content_md5 and not request.filename_root:
            raise InvalidArgumentError("content_md5 or filename_root is a required parameter")
        if request.content_md5 and len(request.content_md5) != _MD5_BYTES:
            raise InvalidArgumentError(f"content_md5 has {len(request.content_md5)} bytes, an MD5 has {_MD5_BYTES}")
        expires_s = self._upload_expiry(request)
        uri = self._upload_uri(request)
        if request.filename and request.filename_root:
            self._check_overwrite(uri, request.content_md5)
        md5_text = base64.b64encode(request.content_md5).decode()
        metadata = {_MD5_METADATA: md5_text} if request.add_content_md5_metadata and md5_text else {}
        url = self._engine.blobs.sign_upload(
            uri, expires_s=expires_s, content_md5=request.content_md5 or None, metadata=metadata
        )
        # The reference also names a Content-Length, the one of the MD5's text: a client that took it literally would
        # cut its upload short, so it is left out.
        headers = {"Content-MD5": md5_text} if md5_text else {}
        headers |= {f"x-amz-meta-{name}": value for name, value in metadata.items()}
        return dataproxy_pb2.CreateUploadLocationResponse(
            signed_url=url, native_url=uri, expires_at=_in_seconds(expires_s), headers=headers
        )

    def CreateDownloadLocation(
        self, request: dataproxy_pb2.CreateDownloadLocationRequest
    ) -> dataproxy_pb2.CreateDownloadLocationResponse:
        """Return a URL for a GET of a blob."""
        expires_s = self._download_expiry(request)
        try:
            parts = urlsplit(request.native_url)
        except ValueError as error:
            raise InvalidArgumentError(
                f"error while validating request: failed to parse native_url [{request.native_url}]"
            ) from error
        if not parts.scheme or not parts.netloc or not parts.path.strip("/"):
            raise InvalidArgumentError(
                f"error while validating request: native_url [{request.native_url}] names no blob"
            )
        url = self._engine.blobs.sign_download(request.native_url, expires_s=expires_s)
        return dataproxy_pb2.CreateDownloadLocationResponse(signed_url=url, expires_at=_in_seconds(expires_s))

    def GetData(self, request: dataproxy_pb2.GetDataRequest) -> dataproxy_pb2.GetDataResponse:
        """Return inputs or outputs of a node or attempt, or one literal of them."""
        match = _parse_flyte_url(request.flyte_url)
        if match["kind"] == "d":
            return dataproxy_pb2.GetDataResponse(pre_signed_urls=self._deck_urls(*self._node(match), None))
        literals = self._literals(match)
        if match["literal"] is None:
            return dataproxy_pb2.GetDataResponse(literal_map=literals)
        if match["literal"] not in literals.literals:
            raise InvalidArgumentError(f"name [{match['literal']}] not found in [{request.flyte_url}]")
        return dataproxy_pb2.GetDataResponse(literal=literals.literals[match["literal"]])

    def CreateDownloadLink(
        self, request: dataproxy_pb2.CreateDownloadLinkRequest
    ) -> dataproxy_pb2.CreateDownloadLinkResponse:
        """Return a URL for a GET of a node's deck."""
        if request.artifact_type == dataproxy_pb2.ARTIFACT_TYPE_UNDEFINED:
            raise InvalidArgumentError("failed to validate download link request. Error: artifact_type is required")
        if request.WhichOneof("source") is None:
            raise InvalidArgumentError("failed to validate download link request. Error: source is required")
        id = request.node_execution_id
        execution = ExecutionId(id.execution_id.project, id.execution_id.domain, id.execution_id.name)
        found = self._find_node(execution, id.node_id)
        if found is None:
            raise InvalidArgumentError(f"failed to find node execution [{execution}/{id.node_id}]")
        urls = self._deck_urls(*found, request)
        return dataproxy_pb2.CreateDownloadLinkResponse(
            signed_url=urls.signed_url, expires_at=urls.expires_at, pre_signed_urls=urls
        )

    def _deck_urls(
        self, record: ExecutionRecord, node: int, request: dataproxy_pb2.CreateDownloadLinkRequest | None
    ) -> dataproxy_pb2.PreSignedURLs:
        uri = messages.deck_uri(self._engine, record, node)
        if not uri or not self._engine.blobs.exists(uri):
            unique_id = self._engine.data.unique_id(record, node)
            raise NotFoundError(f"no deck for node execution [{unique_id}] of execution [{record.id.name}]")
        maximum = self._engine.settings.link_expiry_max_s
        expires_s = maximum if request is None else self._download_expiry(request)
        url = self._engine.blobs.sign_download(uri, expires_s=expires_s)
        return dataproxy_pb2.PreSignedURLs(signed_url=[url], expires_at=_in_seconds(expires_s))

    def _find_node(self, id: ExecutionId, node_id: str) -> tuple[ExecutionRecord, int] | None:
        record = self._engine.find_execution(id)
        node = None if record is None else messages.find_node(self._engine, record, node_id)
        return None if record is None or node is None else (record, node)

    def _node(self, match: re.Match[str]) -> tuple[ExecutionRecord, int]:
        id, node_id = ExecutionId(match["project"], match["domain"], match["execution"]), match["node"]
        found = self._find_node(id, node_id)
        if found is None:
            raise not_found("node execution", messages.node_identifier(id, node_id))
        return found

    def _literals(self, match: re.Match[str]) -> literals_pb2.LiteralMap:
        engine = self._engine
        record, node = self._node(match)
        if match["attempt"] is None:
            data = messages.node_data(engine, record, node)
            full_inputs, full_outputs = data.full_inputs, data.full_outputs
        else:
            row = record.attempts.row_of.get((node, int(match["attempt"])))
            if row is None:
                raise InvalidArgumentError(f"no task executions were listed [{match[0]}]")
            attempt_data = messages.task_data(engine, record, row)
            full_inputs, full_outputs = attempt_data.full_inputs, attempt_data.full_outputs
        return full_inputs if (match["kind"] or match["map"]) == "i" else full_outputs

    def _upload_uri(self, request: dataproxy_pb2.CreateUploadLocationRequest) -> str:
        folder = request.filename_root or base64.b32encode(request.content_md5).decode()
        name = request.filename or "".join(secrets.choice(_NAME_LETTERS) for _ in range(_RANDOM_NAME_LENGTH))
        parts = [request.project, request.domain, *folder.split("/"), *name.split("/")]
        if self._engine.settings.upload_folder:
            parts.insert(0, self._engine.settings.upload_folder)
        parts = [part for part in parts if part]
        if any(part in (".", "..") or not part.isprintable() for part in parts):
            raise InvalidArgumentError(f"[{folder}/{name}] is no name for a blob")
        return "/".join([self._engine.blobs.base_uri, *parts])

    def _check_overwrite(self, uri: str, content_md5: bytes) -> None:
        """Names that a client chose are not written twice, unless with the content they have."""
        try:
            stored = self._engine.blobs.read(uri)
        except BlobNotFoundError:
            return
        if not content_md5 or hashlib.md5(stored, usedforsecurity=False).digest() != content_md5:
            raise AlreadyExistsError(
                f"file already exists at location [{uri}], specify a matching hash if you wish to rewrite"
            )

    def _upload_expiry(self, request: dataproxy_pb2.CreateUploadLocationRequest) -> int:
        maximum = self._engine.settings.link_expiry_max_s
        if not request.HasField("expires_in"):
            return maximum
        seconds = request.expires_in.seconds + request.expires_in.nanos / 1e9
        if seconds > maximum:
            raise InvalidArgumentError(
                f"expiresIn [{_go_duration(seconds)}] cannot exceed max allowed expiration [{_go_duration(maximum)}]"
            )
        if seconds <= 0:
            raise InvalidArgumentError(f"expiresIn [{_go_duration(seconds)}] is invalid")
        return max(1, int(seconds))

    def _download_expiry(
        self, request: dataproxy_pb2.CreateDownloadLocationRequest | dataproxy_pb2.CreateDownloadLinkRequest
    ) -> int:
        maximum = self._engine.settings.link_expiry_max_s
        if not request.HasField("expires_in"):
            return maximum
        duration: Duration = request.expires_in
        seconds = duration.seconds + duration.nanos / 1e9
        problem = "should not less than 0" if seconds < 0 else "cannot exceed max allowed expiration"
        if seconds < 0 or seconds > maximum:
            limit = "" if seconds < 0 else f" [{_go_duration(maximum)}]"
            raise InvalidArgumentError(
                "error while validating request: expiresIn is invalid. "
                f"Error: input duration [{_go_duration(seconds)}] {problem}{limit}"
            )
        return max(1, int(seconds))


def _parse_flyte_url(url: str) -> re.Match[str]:
    refusal = "failed to validate resolve artifact request. Error: "
    if not url:
        raise InvalidArgumentError(f"{refusal}source is required. Provided empty string")
    if not url.startswith("flyte://"):
        raise InvalidArgumentError(f"{refusal}request does not start with the correct prefix")
    match = _FLYTE_URL.fullmatch(url)
    if match is None:
        raise InvalidArgumentError(f"failed to parse artifact url Error: failed to parse [{url}]")
    return match


def _in_seconds(seconds: int) -> Timestamp:
    return Timestamp(seconds=int(time.time()) + seconds)


def _go_duration(seconds: float) -> str:
    """Return whole seconds as Go prints durations: 7200 gives 2h0m0s."""
    sign, whole = ("-", int(-seconds)) if seconds < 0 else ("", int(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{rest}s"
    return f"{sign}{minutes}m{rest}s" if minutes else f"{sign}{rest}s"
