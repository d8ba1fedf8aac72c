"""The blob endpoint lets in who may, and stores only what was said and sent in full."""

from __future__ import annotations

import base64
import datetime
import hashlib
import http.client
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.blob_server import (
    ACCESS_KEY,
    BUCKET,
    REGION,
    SECRET_KEY,
    BlobService,
    blob_service,
    error_of,
    etag,
    get,
    md5_text,
    put,
    send,
)

MIB = 1 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobService]:
    with blob_service(tmp_path_factory.mktemp("blobs")) as service:
        yield service


@pytest.fixture(scope="module")
def client(shared: BlobService) -> Any:
    return shared.client()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[BlobService]:
    with blob_service(tmp_path / "blobs") as service:
        yield service


# Who may


def test_keys_are_checked(shared: BlobService) -> None:
    assert error_of(shared.client(secret_key="wrong").list_buckets) == ("SignatureDoesNotMatch", 403)
    assert error_of(put, shared.client(secret_key="wrong"), "wrong") == ("SignatureDoesNotMatch", 403)
    assert error_of(shared.client(access_key="nobody").list_buckets)[1] == 403
    for method, path in (("GET", f"/{BUCKET}"), ("GET", "/"), ("PUT", f"/{BUCKET}/wrong"), ("DELETE", f"/{BUCKET}/x")):
        answer = send(shared.url + path, method)
        assert (answer.status, answer.code) == (403, "AccessDenied")
    assert not (shared.folder / "wrong").exists()


def test_signed_urls_work_with_and_without_headers(shared: BlobService, client: Any) -> None:
    blobs, body = shared.blobs, b"a tar of code"
    uri = f"s3://{BUCKET}/p/d/BASE32====/fast é+%.tar.gz"
    digest = hashlib.md5(body).digest()
    metadata = {"flyteContentMD5": md5_text(body)}
    url = blobs.sign_upload(uri, expires_s=60, content_md5=digest, metadata=metadata)
    assert "X-Amz-SignedHeaders=host&" in url
    for headers in (
        {},
        {"Content-MD5": ""},
        {"Content-MD5": md5_text(body), "x-amz-meta-flyteContentMD5": md5_text(body)},
    ):
        answer = send(url, "PUT", body, headers)
        assert (answer.status, answer.headers["etag"], answer.body) == (200, etag(body), b"")
    found = client.head_object(Bucket=BUCKET, Key="p/d/BASE32====/fast é+%.tar.gz")
    assert found["Metadata"] == {"flytecontentmd5": md5_text(body)}
    answer = send(blobs.sign_download(uri, expires_s=60))
    assert (answer.status, answer.body) == (200, body)
    assert answer.headers["x-amz-meta-flytecontentmd5"] == md5_text(body)


def test_signed_urls_that_were_changed_or_are_old(shared: BlobService) -> None:
    shared.blobs.write(f"s3://{BUCKET}/signed", b"before")
    shared.blobs.write(f"s3://{BUCKET}/unsigned", b"other")
    url = shared.blobs.sign_download(f"s3://{BUCKET}/signed", expires_s=60)
    for changed, method in (
        (url.replace("/signed?", "/unsigned?"), "GET"),
        (url.replace("Expires=60", "Expires=6000"), "GET"),
        (url[:-1] + ("0" if url[-1] != "0" else "1"), "GET"),
        (url, "PUT"),
        (url, "DELETE"),
        (url + "&response-content-type=text%2Fhtml", "GET"),
    ):
        answer = send(changed, method)
        assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch"), changed
    assert (shared.folder / "signed").read_bytes() == b"before"


def test_a_signed_url_expires(shared: BlobService, monkeypatch: pytest.MonkeyPatch) -> None:
    shared.blobs.write(f"s3://{BUCKET}/signed-early", b"x")
    hour_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_a, **_k: hour_ago.replace(tzinfo=None))
    url = shared.blobs.sign_download(f"s3://{BUCKET}/signed-early", expires_s=3590)
    answer = send(url)
    assert (answer.status, answer.code) == (403, "AccessDenied")
    assert b"expired" in answer.body
    assert send(shared.blobs.sign_download(f"s3://{BUCKET}/signed-early", expires_s=3700)).status == 200


# Bodies that are not what was said


def test_a_wrong_md5_stores_nothing(shared: BlobService, client: Any) -> None:
    uri = f"s3://{BUCKET}/digest"
    url = shared.blobs.sign_upload(uri, expires_s=60, content_md5=None, metadata={})
    answer = send(url, "PUT", b"body", {"Content-MD5": md5_text(b"other body")})
    assert (answer.status, answer.code) == (400, "BadDigest")
    assert not shared.blobs.exists(uri)
    for malformed in ("x", "AAAA", md5_text(b"body")[:-2]):
        answer = send(url, "PUT", b"body", {"Content-MD5": malformed})
        assert (answer.status, answer.code) == (400, "InvalidDigest"), malformed
    put(client, "digest", b"first")
    assert error_of(put, client, "digest", b"second", ContentMD5=md5_text(b"x")) == ("BadDigest", 400)
    assert error_of(put, client, "digest", 2 * MIB * b"s", ContentMD5=md5_text(b"x")) == ("BadDigest", 400)
    assert get(client, "digest") == b"first"
    assert shared.leftovers() == []


# The check values of the algorithms for the nine digits, as catalogues of checksums give them.
CHECK_VALUES = {
    "CRC32": "cbf43926",
    "CRC32C": "e3069283",
    "CRC64NVME": "ae8b14860a799888",
    "SHA1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "SHA256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}


@pytest.mark.parametrize("algorithm", CHECK_VALUES)
def test_checksums_are_checked_and_kept(shared: BlobService, client: Any, algorithm: str) -> None:
    header = f"x-amz-checksum-{algorithm.lower()}"
    known = base64.b64encode(bytes.fromhex(CHECK_VALUES[algorithm])).decode()
    url = shared.blobs.sign_upload(f"s3://{BUCKET}/summed", expires_s=60, content_md5=None, metadata={})
    answer = send(url, "PUT", b"123456789", {header: known})
    assert (answer.status, answer.headers[header]) == (200, known)
    found = client.head_object(Bucket=BUCKET, Key="summed", ChecksumMode="ENABLED")
    assert found[f"Checksum{algorithm}"] == known
    assert get(client, "summed") == b"123456789"
    answer = send(url, "PUT", b"12345678", {header: known})
    assert (answer.status, answer.code) == (400, "BadDigest")
    assert get(client, "summed") == b"123456789"


class _TrailerAuth(S3SigV4Auth):
    """Signs the headers of a body that comes in unsigned chunks with a trailer."""

    def payload(self, request: AWSRequest) -> str:  # noqa: ARG002
        return "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def _send_chunks(service: BlobService, key: str, body: bytes, crc32: int) -> tuple[int, str]:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body[:5], body[5:]) if piece)
    checksum = base64.b64encode(crc32.to_bytes(4, "big"))
    framed += b"0\r\nx-amz-checksum-crc32:" + checksum + b"\r\n\r\n"
    request = AWSRequest("PUT", f"{service.url}/{BUCKET}/{key}", data=framed)
    request.headers["x-amz-decoded-content-length"] = str(len(body))
    request.headers["x-amz-trailer"] = "x-amz-checksum-crc32"
    request.headers["content-encoding"] = "aws-chunked"
    request.headers["content-length"] = str(len(framed))
    _TrailerAuth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION).add_auth(request)
    answer = send(request.url, "PUT", framed, dict(request.headers.items()))
    return answer.status, answer.code


def test_chunked_bodies_with_trailers(shared: BlobService, client: Any) -> None:
    body = b"the body in two chunks"
    assert _send_chunks(shared, "chunked", body, zlib.crc32(body)) == (200, "")
    found = client.get_object(Bucket=BUCKET, Key="chunked", ChecksumMode="ENABLED")
    assert found["Body"].read() == body
    assert "ContentEncoding" not in found
    assert found["ChecksumCRC32"] == base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    assert _send_chunks(shared, "chunked", b"another", zlib.crc32(body)) == (400, "BadDigest")
    assert get(client, "chunked") == body


def test_a_body_with_another_hash_than_signed(shared: BlobService) -> None:
    request = AWSRequest("PUT", f"{shared.url}/{BUCKET}/hashed", data=b"signed")
    S3SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION).add_auth(request)
    answer = send(request.url, "PUT", b"sent!!", dict(request.headers.items()))
    assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert not (shared.folder / "hashed").exists()
    assert send(request.url, "PUT", b"signed", dict(request.headers.items())).status == 200


def test_a_client_that_goes_away_leaves_nothing(service: BlobService) -> None:
    uri = f"s3://{BUCKET}/broken"
    url = service.blobs.sign_upload(uri, expires_s=60, content_md5=None, metadata={})
    path = url.removeprefix(service.url)
    connection = http.client.HTTPConnection(service.address, timeout=30)
    connection.putrequest("PUT", path)
    connection.putheader("Content-Length", str(8 * MIB))
    connection.endheaders(b"x" * 2 * MIB)
    _wait_for(lambda: service.leftovers() != [])
    connection.close()
    _wait_for(lambda: service.leftovers() == [])
    assert not service.blobs.exists(uri)


def _wait_for(condition: Any) -> None:
    pause = threading.Event()
    for _ in range(3000):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("the condition did not come true")
