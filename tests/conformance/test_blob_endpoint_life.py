"""The endpoint starts or says why not, ends in order, and comes back on the same folder."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flyte_kernel._core import BlobServer
from flyte_kernel.adapters.http.blob_endpoint import BlobEndpoint
from flyte_kernel.errors import AdapterError, InvalidArgumentError, StorageError
from tests.support.blob_server import ACCESS_KEY, BUCKET, SECRET_KEY, BlobService, blob_service, send


def start(root: Path, host: str = "127.0.0.1", port: int = 0, bucket: str = BUCKET) -> BlobEndpoint:
    return BlobEndpoint(root, host, port, buckets=[bucket], access_key=ACCESS_KEY, secret_key=SECRET_KEY)


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(AdapterError, match=rf"listen for HTTP on 127.0.0.1:{port}.*in use.*--http") as caught:
            start(tmp_path, port=port)
    assert not caught.value.retryable


def test_what_cannot_be_served(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="file"):
        start(tmp_path / "file" / "root")
    with pytest.raises(InvalidArgumentError, match="No Bucket"):
        start(tmp_path, bucket="No Bucket")
    with pytest.raises(AdapterError, match="not-a-host"):
        start(tmp_path, host="not-a-host.invalid")
    with pytest.raises(AdapterError, match=r"192\.0\.2\.1"):
        start(tmp_path, host="192.0.2.1")  # reserved for documentation: no machine has it


def test_all_addresses_are_reached_by_the_own_one(tmp_path: Path) -> None:
    endpoint = start(tmp_path, host="0.0.0.0")
    try:
        assert endpoint.address.startswith("127.0.0.1:")
        assert send(f"http://{endpoint.address}/healthcheck").body == b"ok"
    finally:
        endpoint.close()


def test_closing_twice_frees_the_port(tmp_path: Path) -> None:
    server = BlobServer.start(tmp_path, "127.0.0.1", 0, ACCESS_KEY, SECRET_KEY)
    host, port = server.address
    server.close()
    server.close()
    again = BlobServer.start(str(tmp_path), host, port, ACCESS_KEY, SECRET_KEY, region="eu-west-1", sync=True)
    assert again.address == (host, port)
    again.close()


def test_closing_waits_for_requests_in_flight(tmp_path: Path) -> None:
    endpoint = start(tmp_path)
    service = BlobService(tmp_path, endpoint.address)
    url = service.blobs.sign_upload(f"s3://{BUCKET}/slow", expires_s=60, content_md5=None, metadata={})
    connection = http.client.HTTPConnection(endpoint.address, timeout=30)
    connection.putrequest("PUT", url.removeprefix(service.url))
    connection.putheader("Content-Length", "4")
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    assert connection.sock.recv(12) == b"HTTP/1.1 100"  # the request is being answered
    assert connection.sock.recv(100).endswith(b"\r\n\r\n")
    closing = threading.Thread(target=endpoint.close)
    closing.start()
    host, port = endpoint.address.split(":")
    _wait_until_refused(host, int(port))
    connection.send(b"slow")
    assert connection.getresponse().status == 200
    connection.close()
    closing.join(timeout=30)
    assert not closing.is_alive()
    assert (tmp_path / BUCKET / "slow").read_bytes() == b"slow"


def _wait_until_refused(host: str, port: int) -> None:
    pause = threading.Event()
    for _ in range(3000):
        try:
            socket.create_connection((host, port), timeout=5).close()
        except OSError:
            return
        pause.wait(0.01)
    raise AssertionError("the endpoint goes on listening")


def test_objects_outlive_the_endpoint_and_litter_does_not(tmp_path: Path) -> None:
    with blob_service(tmp_path) as service:
        client = service.client()
        client.put_object(Bucket=BUCKET, Key="kept", Body=b"kept", Metadata={"a": "1"})
        upload = client.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
        client.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=1, Body=b"part")
    (tmp_path / ".meta" / "staging" / "1-1").write_bytes(b"left by a crash")
    with blob_service(tmp_path) as service:
        client = service.client()
        assert service.leftovers() == []
        answer = client.get_object(Bucket=BUCKET, Key="kept")
        assert (answer["Body"].read(), answer["Metadata"]) == (b"kept", {"a": "1"})
        part = client.list_parts(Bucket=BUCKET, Key="parts", UploadId=upload)["Parts"][0]
        chosen = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        client.complete_multipart_upload(Bucket=BUCKET, Key="parts", UploadId=upload, MultipartUpload=chosen)
        assert client.get_object(Bucket=BUCKET, Key="parts")["Body"].read() == b"part"


ON_A_SMALL_DISK = """
import resource, sys
from pathlib import Path
from flyte_kernel.errors import KernelError
from tests.support.blob_server import BUCKET, blob_service, send
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
with blob_service(Path(sys.argv[1])) as service:
    uri = f"s3://{BUCKET}/key"
    url = service.blobs.sign_upload(uri, expires_s=60, content_md5=None, metadata={})
    assert send(url, "PUT", b"before").status == 200
    for size in ((1 << 20) + 1, 3 << 20):
        answer = send(url, "PUT", b"x" * size)
        assert (answer.status, answer.code) == (400, "EntityTooLarge"), answer
        try:
            service.blobs.write(uri, b"x" * size)
        except KernelError as error:
            assert "s3://flyte/key" in str(error)
        else:
            raise AssertionError("the write did not fail")
        assert service.blobs.read(uri) == b"before"
        assert service.leftovers() == [], service.leftovers()
    assert send(url, "PUT", b"x" * (1 << 20)).status == 200
"""


def test_a_write_that_the_disk_refuses_leaves_nothing(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", ON_A_SMALL_DISK, str(tmp_path)], capture_output=True, timeout=60)
    assert run.returncode == 0, run.stderr.decode()


def test_a_repr_names_the_address(tmp_path: Path) -> None:
    server = BlobServer.start(tmp_path, "127.0.0.1", 0, ACCESS_KEY, SECRET_KEY)
    assert repr(server) == "BlobServer({}:{})".format(*server.address)
    server.close()
