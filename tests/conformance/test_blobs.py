"""Every home of blobs keeps the promises of the engine's port."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flyte_kernel.engine.ports import BlobNotFoundError, Blobs
from flyte_kernel.errors import AdapterError, InvalidArgumentError, StorageFullError
from flyte_kernel.store.blobs import FolderBlobs, FsspecBlobs
from flyte_kernel.testing import MemoryBlobs
from tests.support.blob_server import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, BlobService, blob_service, send


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobService]:
    with blob_service(tmp_path_factory.mktemp("blobs")) as service:
        yield service


def remote(service: BlobService, url: str = f"s3://{BUCKET}/remote", **options: Any) -> FsspecBlobs:
    given = {"key": ACCESS_KEY, "secret": SECRET_KEY, "endpoint_url": service.url, **options}
    return FsspecBlobs(url, given)


HOMES: dict[str, Callable[[BlobService], Blobs]] = {
    "folder": lambda service: service.blobs,
    "folder, synced": lambda service: FolderBlobs(service.root, BUCKET, service.url, ACCESS_KEY, SECRET_KEY, sync=True),
    "s3fs": remote,
    "memory of fsspec": lambda _: FsspecBlobs("memory://conformance/prefix"),
    "fake": lambda _: MemoryBlobs("s3://fake"),
}


@pytest.fixture(params=HOMES)
def blobs(request: pytest.FixtureRequest, service: BlobService) -> Blobs:
    return HOMES[request.param](service)


def test_write_then_read(blobs: Blobs) -> None:
    for name, data in {
        "a/b/inputs.pb": b"\x00\xff",
        "a/empty": b"",
        "a b/é+%?#": b"odd",
        "big": b"x" * 3_000_000,
    }.items():
        uri = f"{blobs.base_uri}/write/{name}"
        blobs.write(uri, data)
        assert (blobs.read(uri), blobs.exists(uri)) == (data, True)
        blobs.write(uri, b"replaced")
        assert blobs.read(uri) == b"replaced"


def test_absent_blobs(blobs: Blobs) -> None:
    blobs.write(f"{blobs.base_uri}/absent/file/below", b"x")
    for name in ("absent/none", "absent/file", "none/at/all", "absent/file/below/x"):
        uri = f"{blobs.base_uri}/{name}"
        assert not blobs.exists(uri), name
        with pytest.raises(BlobNotFoundError, match=name):
            blobs.read(uri)


def test_a_blob_written_by_somebody_else_is_seen_at_once(service: BlobService) -> None:
    local, far = service.blobs, remote(service)
    uri = f"{far.base_uri}/seen"
    assert not far.exists(uri)
    local.write(uri, b"by path")
    assert (far.exists(uri), far.read(uri)) == (True, b"by path")
    far.write(uri, b"by S3")
    assert (local.read(uri), local.local_path(uri).read_bytes()) == (b"by S3", b"by S3")


@pytest.mark.parametrize("name", ["folder", "s3fs", "memory of fsspec"])
def test_names_that_lie_elsewhere_are_refused(service: BlobService, name: str) -> None:
    blobs = HOMES[name](service)
    base = blobs.base_uri
    uris = ["s3://other/k", f"{base}x/k", base, f"{base}/", f"{base}/../k", f"{base}/a//b", f"{base}/a/./b"]
    uris += [f"{base}/a/..", f"{base}/nul\0", f"{base}/{'n' * 256}", f"{base}/{'k/' * 512}k", "/etc/passwd", ""]
    for uri in uris:
        with pytest.raises(InvalidArgumentError):
            blobs.read(uri)
        with pytest.raises(InvalidArgumentError):
            blobs.write(uri, b"")
        with pytest.raises(InvalidArgumentError):
            blobs.exists(uri)
        with pytest.raises(InvalidArgumentError):
            blobs.sign_download(uri, expires_s=60)
        with pytest.raises(InvalidArgumentError):
            blobs.sign_upload(uri, expires_s=60, content_md5=None, metadata={})
    if name == "folder":
        with pytest.raises(InvalidArgumentError):
            blobs.local_path(f"{base}/../k")


@pytest.mark.parametrize("name", ["folder", "s3fs"])
def test_signed_urls(service: BlobService, name: str) -> None:
    blobs, body = HOMES[name](service), b"uploaded"
    uri = f"{blobs.base_uri}/signed/BASE32==/é+%"
    plain = blobs.sign_upload(uri, expires_s=60, content_md5=None, metadata={})
    assert send(plain, "PUT", body).status == 200
    assert blobs.read(uri) == body
    md5 = hashlib.md5(b"again").digest()
    url = blobs.sign_upload(uri, expires_s=60, content_md5=md5, metadata={"flyteContentMD5": "x="})
    headers = {"Content-MD5": base64.b64encode(md5).decode(), "x-amz-meta-flyteContentMD5": "x="}
    assert send(url, "PUT", b"other", headers).code == "BadDigest"
    assert send(url, "PUT", b"again", headers).status == 200
    answer = send(blobs.sign_download(uri, expires_s=60))
    assert (answer.status, answer.body, answer.headers["x-amz-meta-flytecontentmd5"]) == (200, b"again", "x=")


def test_concurrent_writers_of_one_file(service: BlobService) -> None:
    blobs, uri = service.blobs, f"s3://{BUCKET}/contested/deep/file"
    failures: list[BaseException] = []
    bodies = [letter.encode() * (300_000 + ord(letter)) for letter in "abcd"]

    def work(body: bytes) -> None:
        try:
            for _ in range(30):
                blobs.write(uri, body)
                assert blobs.read(uri) in bodies
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_folder_that_cannot_be_written(service: BlobService, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = service.blobs
    blobs.write(f"s3://{BUCKET}/file-in-the-way", b"x")
    with pytest.raises(AdapterError, match="file-in-the-way/below") as caught:
        blobs.write(f"s3://{BUCKET}/file-in-the-way/below", b"y")
    assert isinstance(caught.value.__cause__, NotADirectoryError)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StorageFullError, match="No space left"):
        blobs.write(f"s3://{BUCKET}/full", b"y")
    assert service.leftovers() == []


def test_a_store_that_fails(service: BlobService) -> None:
    wrong = remote(service, secret="wrong")
    uri = f"{wrong.base_uri}/k"
    with pytest.raises(AdapterError, match="s3://flyte/remote/k") as caught:
        wrong.read(uri)
    assert not caught.value.retryable
    with pytest.raises(AdapterError):
        wrong.exists(uri)
    gone = remote(service, endpoint_url="http://127.0.0.1:1", config_kwargs={"retries": {"total_max_attempts": 1}})
    for call in (gone.read, gone.exists, lambda uri: gone.write(uri, b"")):
        with pytest.raises(AdapterError) as caught:
            call(uri)
        assert caught.value.retryable
    memory = FsspecBlobs("memory://x")
    with pytest.raises(AdapterError, match="takes no signed uploads"):
        memory.sign_upload("memory://x/k", expires_s=1, content_md5=None, metadata={})
    with pytest.raises(AdapterError) as caught:
        memory.sign_download("memory://x/k", expires_s=1)
    assert not caught.value.retryable


@pytest.mark.parametrize("url", ["no-url", "/folder", "file:///folder", "nonsense://bucket"])
def test_urls_of_no_store(url: str) -> None:
    with pytest.raises(InvalidArgumentError, match=url):
        FsspecBlobs(url)


def test_the_environment_of_tasks(service: BlobService, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {
        "FLYTE_AWS_ENDPOINT": service.url,
        "FLYTE_AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "FLYTE_AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": service.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    region = {"AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION}
    assert service.blobs.task_environment() == {**expected, **region}
    assert remote(service).task_environment() == expected
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "overruled by the options")
    assert remote(service).task_environment() == {**expected, "AWS_REGION": "eu-central-1"}
    assert FsspecBlobs("memory://x").task_environment()["AWS_REGION"] == "eu-central-1"


def test_only_the_folder_has_files(service: BlobService) -> None:
    uri = f"s3://{BUCKET}/remote/k"
    assert service.blobs.local_path(uri) == service.folder / "remote" / "k"
    assert remote(service).local_path(uri) is None
