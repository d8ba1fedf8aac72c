"""A blob endpoint in this process, and raw HTTP to talk to it."""

from __future__ import annotations

import base64
import hashlib
import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from flyte_kernel.adapters.http.blob_endpoint import BlobEndpoint
from flyte_kernel.store.blobs import FolderBlobs

BUCKET, ACCESS_KEY, SECRET_KEY, REGION = "flyte", "flyte-kernel", "a-secret", "us-east-1"


@dataclass(frozen=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The S3 error code in the body."""
        text = self.body.decode()
        return text.partition("<Code>")[2].partition("</Code>")[0]


@dataclass(frozen=True)
class BlobService:
    """A running endpoint with all that is needed to reach it."""

    root: Path
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def folder(self) -> Path:
        """Where the objects of the bucket are."""
        return self.root / BUCKET

    @property
    def blobs(self) -> FolderBlobs:
        return FolderBlobs(self.root, BUCKET, self.url, ACCESS_KEY, SECRET_KEY)

    def client(self, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY, **config: Any) -> Any:
        """Return a botocore client that tries everything once."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            region_name=REGION,
            config=Config(retries={"total_max_attempts": 1}, **config),
        )

    def leftovers(self) -> list[str]:
        """The files that uploads left in the staging folder."""
        return sorted(path.name for path in (self.root / ".meta" / "staging").iterdir())


@contextmanager
def blob_service(root: Path) -> Iterator[BlobService]:
    """Serve a folder for the time of a test."""
    endpoint = BlobEndpoint(root, "127.0.0.1", 0, buckets=[BUCKET], access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    try:
        yield BlobService(root, endpoint.address)
    finally:
        endpoint.close()


def send(url: str, method: str = "GET", body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """Make one request exactly as given: no header is added but Host and Content-Length, no path is normalised."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target or "/", body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


def md5_text(data: bytes) -> str:
    """Return the MD5 as the header Content-MD5 has it."""
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def etag(data: bytes) -> str:
    """Return the ETag of an object that came in one piece."""
    return f'"{hashlib.md5(data).hexdigest()}"'


def put(client: Any, key: str, body: bytes = b"content", **options: Any) -> dict[str, Any]:
    """Store an object."""
    return dict(client.put_object(Bucket=BUCKET, Key=key, Body=body, **options))


def get(client: Any, key: str, **options: Any) -> bytes:
    """Return an object's content."""
    return bytes(client.get_object(Bucket=BUCKET, Key=key, **options)["Body"].read())


def keys(client: Any, **options: Any) -> list[str]:
    """Return the keys of one page of a listing."""
    found = client.list_objects_v2(Bucket=BUCKET, **options)
    return [entry["Key"] for entry in found.get("Contents", [])]


def error_of(call: Any, *arguments: Any, **options: Any) -> tuple[str, int]:
    """Return error code and status of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        call(*arguments, **options)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]
