"""Where blobs live: a folder that the embedded endpoint serves, or any store that fsspec reaches."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flyte_kernel.engine.ports import BlobNotFoundError
from flyte_kernel.errors import AdapterError, InvalidArgumentError, StorageError, StorageFullError

__all__ = ["FolderBlobs", "FsspecBlobs"]

_REGION = "us-east-1"
_FULL = frozenset({28, 122})  # ENOSPC, EDQUOT


class FolderBlobs:
    """Blobs as plain files in `root/bucket`, which an S3-compatible endpoint at `endpoint` serves to everybody else.

    An `engine.ports.Blobs`. Writes go to a temporary file and are renamed, so that readers see whole blobs only.
    """

    def __init__(self, root: Path, bucket: str, endpoint: str, *, access_key: str, secret_key: str) -> None:
        self.base_uri = f"s3://{bucket}"
        self._bucket = bucket
        self._folder = root / bucket
        self._endpoint = endpoint
        self._access_key = access_key
        self._secret_key = secret_key

    def read(self, uri: str) -> bytes:
        """Return the whole blob."""
        try:
            return self._path(uri).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise BlobNotFoundError(uri) from error
        except OSError as error:
            raise StorageError(f"{uri} cannot be read: {error}") from error

    def write(self, uri: str, data: bytes) -> None:
        """Create or replace the blob."""
        path = self._path(uri)
        temporary = path.with_name(f".{secrets.token_hex(8)}.partial")
        try:
            try:
                temporary.write_bytes(data)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(data)
            temporary.replace(path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            kind = StorageFullError if error.errno in _FULL else StorageError
            raise kind(f"{uri} cannot be written: {error}") from error

    def exists(self, uri: str) -> bool:
        """Say whether the blob is there."""
        return self._path(uri).is_file()

    def local_path(self, uri: str) -> Path | None:
        """Return the blob's own file."""
        return self._path(uri)

    def sign_upload(self, uri: str, *, expires_s: int, content_md5: bytes | None, metadata: Mapping[str, str]) -> str:
        """Return a URL that takes a PUT; only the host is signed, since not every client sends the same headers."""
        return self._sign("PUT", uri, expires_s)

    def sign_download(self, uri: str, *, expires_s: int) -> str:
        """Return a URL that answers a GET."""
        return self._sign("GET", uri, expires_s)

    def task_environment(self) -> Mapping[str, str]:
        """Return what flytekit, s3fs, botocore and PyArrow read."""
        return {
            "FLYTE_AWS_ENDPOINT": self._endpoint,
            "FLYTE_AWS_ACCESS_KEY_ID": self._access_key,
            "FLYTE_AWS_SECRET_ACCESS_KEY": self._secret_key,
            "AWS_ENDPOINT_URL": self._endpoint,
            "AWS_ACCESS_KEY_ID": self._access_key,
            "AWS_SECRET_ACCESS_KEY": self._secret_key,
            "AWS_DEFAULT_REGION": _REGION,
            "AWS_REGION": _REGION,
        }

    def _key(self, uri: str) -> str:
        prefix = f"{self.base_uri}/"
        if not uri.startswith(prefix):
            raise InvalidArgumentError(f"{uri} is not a blob of this server, which are below {prefix}")
        return uri[len(prefix) :]

    def _path(self, uri: str) -> Path:
        key = self._key(uri)
        parts = key.split("/")
        if not key or any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise InvalidArgumentError(f"{uri} does not name a blob: no part of its key may be empty, '.' or '..'")
        return self._folder.joinpath(*parts)

    def _sign(self, method: str, uri: str, expires_s: int) -> str:
        from botocore.auth import S3SigV4QueryAuth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        self._path(uri)
        url = f"{self._endpoint}/{self._bucket}/{quote(self._key(uri), safe='/~')}"
        request = AWSRequest(method, url)
        credentials = Credentials(self._access_key, self._secret_key)
        S3SigV4QueryAuth(credentials, "s3", _REGION, expires=expires_s).add_auth(request)
        return str(request.url)


class FsspecBlobs:
    """Blobs below any URL that fsspec reaches: `s3://bucket/prefix`, `gs://…`, `memory://…`.

    An `engine.ports.Blobs`. Tasks must be able to reach the store by themselves: variables of this process's
    environment that hold credentials of S3 and GCS are passed on to them.
    """

    _PASSED_ON = ("AWS_", "FLYTE_AWS_", "FLYTE_GCP_", "GOOGLE_", "AZURE_", "FLYTE_AZURE_")

    def __init__(self, url: str, storage_options: Mapping[str, Any] | None = None) -> None:
        import fsspec

        if "://" not in url or url.startswith("file:"):
            raise InvalidArgumentError(f"{url!r} is no URL of a remote store: Flyte's SDK is at home with those only")
        try:
            self._files, _ = fsspec.core.url_to_fs(url, **(storage_options or {}))
        except (ImportError, ValueError) as error:
            raise InvalidArgumentError(f"no blobs at {url!r}: {error}") from error
        self.base_uri = url.rstrip("/")

    def read(self, uri: str) -> bytes:
        """Return the whole blob."""
        try:
            return bytes(self._files.cat_file(self._checked(uri)))
        except (FileNotFoundError, IsADirectoryError) as error:
            raise BlobNotFoundError(uri) from error
        except Exception as error:
            raise _failed("read", uri, error) from error

    def write(self, uri: str, data: bytes) -> None:
        """Create or replace the blob; object stores do that in one piece."""
        try:
            self._files.pipe_file(self._checked(uri), data)
        except Exception as error:
            raise _failed("written", uri, error) from error

    def exists(self, uri: str) -> bool:
        """Say whether the blob is there."""
        try:
            return bool(self._files.isfile(self._checked(uri)))
        except Exception as error:
            raise _failed("looked up", uri, error) from error

    def local_path(self, uri: str) -> Path | None:
        """Blobs of a remote store are no files of this machine."""
        return None

    def sign_upload(self, uri: str, *, expires_s: int, content_md5: bytes | None, metadata: Mapping[str, str]) -> str:
        """Return a URL that takes a PUT."""
        return self._sign(uri, expires_s, "put_object", content_md5, metadata)

    def sign_download(self, uri: str, *, expires_s: int) -> str:
        """Return a URL that answers a GET."""
        return self._sign(uri, expires_s, "get_object", None, {})

    def task_environment(self) -> Mapping[str, str]:
        """Return the credentials that this process was given."""
        return {name: value for name, value in os.environ.items() if name.startswith(self._PASSED_ON)}

    def _checked(self, uri: str) -> str:
        if not uri.startswith(f"{self.base_uri}/"):
            raise InvalidArgumentError(f"{uri} is not a blob of this server, which are below {self.base_uri}/")
        return uri

    def _sign(self, uri: str, expires_s: int, method: str, md5: bytes | None, metadata: Mapping[str, str]) -> str:
        options: dict[str, Any] = {}
        if "s3" in _protocols(self._files):
            options = {"client_method": method}
            if md5 is not None:
                options["ContentMD5"] = base64.b64encode(md5).decode()
            if metadata:
                options["Metadata"] = dict(metadata)
        try:
            return str(self._files.sign(self._checked(uri), expiration=expires_s, **options))
        except NotImplementedError as error:
            raise InvalidArgumentError(f"the store of {self.base_uri} cannot sign URLs") from error
        except Exception as error:
            raise _failed("signed", uri, error) from error


def _protocols(files: Any) -> tuple[str, ...]:
    protocol = files.protocol
    return (protocol,) if isinstance(protocol, str) else tuple(protocol)


def _failed(what: str, uri: str, error: Exception) -> Exception:
    if isinstance(error, InvalidArgumentError):
        return error
    retryable = isinstance(error, (OSError, TimeoutError)) and not isinstance(error, PermissionError)
    return AdapterError(f"{uri} could not be {what}: {type(error).__name__}: {error}", retryable=retryable)
