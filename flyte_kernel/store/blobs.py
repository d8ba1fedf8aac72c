"""The two homes of blobs: a folder that the own S3 endpoint serves, and any remote store that fsspec knows.

Both implement the engine's port `Blobs`. The folder is read and written by path, so the server itself never goes
through HTTP; tasks and clients reach the same files under `s3://<bucket>/...` and signed URLs.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import quote

from flyte_kernel.engine.ports import BlobNotFoundError
from flyte_kernel.errors import AdapterError, InvalidArgumentError
from flyte_kernel.store.files import exists_file, read_file, write_file
from flyte_kernel.store.uris import key_below

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["FolderBlobs", "FsspecBlobs"]

_Result = TypeVar("_Result")

_S3 = ("s3", "s3a")

_PASSED_ON = ("AWS_", "FLYTE_AWS_", "GOOGLE_", "FLYTE_GCP_", "AZURE_", "FLYTE_AZURE_")
"""How the variables begin by which SDKs find a store and its credentials."""

_HOPELESS = (PermissionError, NotImplementedError, ImportError, TypeError, ValueError)
"""Errors of a store that another try will not mend."""


class FolderBlobs:
    """Blobs as files of the folder that the own endpoint serves; safe to use from any thread.

    `root` and `bucket` are those of the endpoint, `endpoint` is its URL. `sync` waits for the disk at every write.
    """

    def __init__(
        self,
        root: Path,
        bucket: str,
        endpoint: str,
        access_key: str,
        secret_key: str,
        *,
        region: str = "us-east-1",
        sync: bool = False,
    ) -> None:
        self.base_uri = f"s3://{bucket}"
        self._folder = root / bucket
        self._staging = root / ".meta" / "staging"
        self._bucket = bucket
        self._endpoint = endpoint.rstrip("/")
        self._access_key = access_key
        self._secret_key = secret_key
        self._region = region
        self._sync = sync

    def read(self, uri: str) -> bytes:
        """Return the whole blob; BlobNotFoundError if absent, AdapterError if the disk fails."""
        return read_file(self.local_path(uri), uri)

    def write(self, uri: str, data: bytes) -> None:
        """Create or replace the blob; StorageFullError or AdapterError if the disk fails."""
        write_file(self.local_path(uri), data, uri, staging=self._staging, sync=self._sync)

    def exists(self, uri: str) -> bool:
        """Say whether the blob is there."""
        return exists_file(self.local_path(uri), uri)

    def local_path(self, uri: str) -> Path:
        """Return where the blob is or would be."""
        return self._folder / key_below(self.base_uri, uri)

    def sign_upload(self, uri: str, *, expires_s: int, content_md5: bytes | None, metadata: Mapping[str, str]) -> str:  # noqa: ARG002
        """Return a URL that takes one PUT of the blob, with or without the headers for digest and metadata.

        Only the host is signed, since some clients send no headers at all; a Content-MD5 that comes is checked.
        """
        return self._sign("PUT", uri, expires_s)

    def sign_download(self, uri: str, *, expires_s: int) -> str:
        """Return a URL that answers a GET of the blob."""
        return self._sign("GET", uri, expires_s)

    def task_environment(self) -> Mapping[str, str]:
        """Return where the endpoint is and its keys, for flytekit, for botocore and its kin, and for Arrow."""
        return s3_environment(self._endpoint, self._access_key, self._secret_key, self._region)

    def _sign(self, method: str, uri: str, expires_s: int) -> str:
        from botocore.auth import S3SigV4QueryAuth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        key = key_below(self.base_uri, uri)
        request = AWSRequest(method, f"{self._endpoint}/{self._bucket}/{quote(key, safe='/~')}")
        credentials = Credentials(self._access_key, self._secret_key)
        S3SigV4QueryAuth(credentials, "s3", self._region, expires=expires_s).add_auth(request)
        return str(request.url)


class FsspecBlobs:
    """Blobs in a remote store, below a URL such as s3://bucket/prefix; safe to use from any thread.

    Writes are as atomic as the store's own: object stores replace whole objects. InvalidArgumentError if the URL is not
    that of a remote store (Flyte's SDK is at home with those only) or no driver for it is installed.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        self._protocol, separator, _ = url.partition("://")
        if not separator or self._protocol in ("file", "local"):
            raise InvalidArgumentError(f"[{url}] is not the URL of a remote store, such as s3://bucket/prefix")
        self.base_uri = url.rstrip("/")
        self._options = dict(storage_options or {})
        self._fs = self._connect()

    def read(self, uri: str) -> bytes:
        """Return the whole blob; BlobNotFoundError if absent, AdapterError if the store fails."""
        path = self._path(uri)
        return cast(bytes, self._ask(uri, lambda: self._fs.cat_file(path)))

    def write(self, uri: str, data: bytes) -> None:
        """Create or replace the blob; AdapterError if the store fails."""
        path = self._path(uri)
        self._ask(uri, lambda: self._fs.pipe_file(path, data))

    def exists(self, uri: str) -> bool:
        """Say whether the blob is there; AdapterError if the store fails."""
        path = self._path(uri)
        try:
            return bool(self._ask(uri, lambda: self._fs.info(path))["type"] == "file")
        except BlobNotFoundError:
            return False

    def local_path(self, uri: str) -> Path | None:  # noqa: ARG002
        """Return None: no blob is a file of this machine."""
        return None

    def sign_upload(self, uri: str, *, expires_s: int, content_md5: bytes | None, metadata: Mapping[str, str]) -> str:
        """Return a URL that takes one PUT of the blob; AdapterError if the store cannot sign.

        What is given must come with the PUT as headers: stores refuse headers of their own family that were not signed.
        """
        path = self._path(uri)
        md5 = None if content_md5 is None else base64.b64encode(content_md5).decode()
        options = self._upload_options(md5, metadata)
        return str(self._ask(uri, lambda: self._fs.sign(path, expiration=expires_s, **options)))

    def sign_download(self, uri: str, *, expires_s: int) -> str:
        """Return a URL that answers a GET of the blob; AdapterError if the store cannot sign."""
        path = self._path(uri)
        return str(self._ask(uri, lambda: self._fs.sign(path, expiration=expires_s)))

    def task_environment(self) -> Mapping[str, str]:
        """Return what this process was told of the store, by its own environment and by the options."""
        found = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        if self._protocol in _S3:
            client = self._options.get("client_kwargs") or {}
            endpoint = self._options.get("endpoint_url") or client.get("endpoint_url") or ""
            key, secret = self._options.get("key") or "", self._options.get("secret") or ""
            told = s3_environment(endpoint, key, secret, client.get("region_name") or "")
            found |= {name: value for name, value in told.items() if value}
        return found

    def _upload_options(self, md5: str | None, metadata: Mapping[str, str]) -> dict[str, Any]:
        if self._protocol in _S3:
            options: dict[str, Any] = {"ContentMD5": md5, "Metadata": dict(metadata)}
            return {"client_method": "put_object", **{name: value for name, value in options.items() if value}}
        if self._protocol in ("gs", "gcs"):
            headers = {f"x-goog-meta-{name}": value for name, value in metadata.items()}
            return {"method": "PUT", "version": "v4", "content_md5": md5, "headers": headers or None}
        raise AdapterError(f"a store of {self._protocol}:// takes no signed uploads", retryable=False)

    def _connect(self) -> AbstractFileSystem:
        import fsspec

        # A listing from the cache would hide what a task has just written.
        options = {"use_listings_cache": False, **self._options}
        if self._protocol in _S3:
            # Signed uploads need version 4, and no checksum that the uploader would have to know.
            config = {"signature_version": "s3v4", "request_checksum_calculation": "when_required"}
            options["config_kwargs"] = {**config, **(options.get("config_kwargs") or {})}
        try:
            return fsspec.filesystem(self._protocol, **options)
        except (ImportError, ValueError) as error:
            raise InvalidArgumentError(f"blobs cannot be kept at [{self.base_uri}]: {error}") from error

    def _path(self, uri: str) -> str:
        key_below(self.base_uri, uri)
        return str(self._fs._strip_protocol(uri))

    def _ask(self, uri: str, request: Callable[[], _Result]) -> _Result:
        """Drivers raise what they like, so everything that is not an absent blob is an error of the store."""
        try:
            return request()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise BlobNotFoundError(uri) from None
        except Exception as error:
            retryable = not isinstance(error, _HOPELESS)
            raise AdapterError(f"the store of the blob {uri} failed: {error!r}", retryable=retryable) from error


def s3_environment(endpoint: str, access_key: str, secret_key: str, region: str) -> dict[str, str]:
    """Return the variables by which flytekit (the first three), botocore and its kin, and Arrow reach an S3 store."""
    return {
        "FLYTE_AWS_ENDPOINT": endpoint,
        "FLYTE_AWS_ACCESS_KEY_ID": access_key,
        "FLYTE_AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
    }
