"""s3fs and Arrow, as flytekit and its dataframes use them, work on the blob endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import fs as arrow_fs
from pyarrow import parquet
from s3fs import S3FileSystem

from tests.support.blob_server import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, BlobService, blob_service

MIB = 1 << 20


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlobService]:
    with blob_service(tmp_path_factory.mktemp("blobs")) as service:
        yield service


@pytest.fixture(scope="module")
def s3(service: BlobService) -> S3FileSystem:
    return S3FileSystem(
        key=ACCESS_KEY, secret=SECRET_KEY, endpoint_url=service.url, use_listings_cache=False, skip_instance_cache=True
    )


@pytest.fixture(scope="module")
def arrow(service: BlobService) -> Any:
    return arrow_fs.S3FileSystem(
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
        endpoint_override=service.address,
        scheme="http",
        region=REGION,
        allow_bucket_creation=True,
    )


def test_s3fs_single_blobs(service: BlobService, s3: S3FileSystem) -> None:
    path = f"{BUCKET}/s3fs/a b/é+%.bin"
    s3.pipe_file(path, b"content")
    assert (service.folder / "s3fs" / "a b" / "é+%.bin").read_bytes() == b"content"
    assert s3.cat_file(path) == b"content"
    assert s3.cat_file(path, start=2, end=4) == b"nt"
    assert (s3.info(path)["size"], s3.isfile(path), s3.isdir(f"{BUCKET}/s3fs")) == (7, True, True)
    assert s3.ls(f"{BUCKET}/s3fs", detail=False) == [f"{BUCKET}/s3fs/a b"]
    s3.cp_file(path, f"{BUCKET}/s3fs/copy")
    assert s3.find(f"{BUCKET}/s3fs") == [path, f"{BUCKET}/s3fs/copy"]
    s3.rm(f"{BUCKET}/s3fs", recursive=True)
    assert not s3.exists(f"{BUCKET}/s3fs")
    with pytest.raises(FileNotFoundError):
        s3.cat_file(path)


def test_s3fs_folders_go_there_and_back(service: BlobService, s3: S3FileSystem, tmp_path: Path) -> None:
    files = {"one": b"1", "sub/two": b"22", "sub/deep/three": os.urandom(2 * MIB)}
    for name, data in files.items():
        target = tmp_path / "there" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    s3.put(f"{tmp_path}/there/", f"{BUCKET}/tree/", recursive=True)
    assert {name: (service.folder / "tree" / name).read_bytes() for name in files} == files
    s3.get(f"{BUCKET}/tree/", f"{tmp_path}/back/", recursive=True)
    assert {name: (tmp_path / "back" / name).read_bytes() for name in files} == files


def test_s3fs_writes_large_blobs_in_parts(service: BlobService, s3: S3FileSystem) -> None:
    data = os.urandom(12 * MIB + 5)
    with s3.open(f"{BUCKET}/large", "wb", block_size=5 * MIB) as file:
        for start in range(0, len(data), MIB):
            file.write(data[start : start + MIB])
    assert (service.folder / "large").read_bytes() == data
    assert s3.info(f"{BUCKET}/large")["ETag"].endswith('-3"')
    with s3.open(f"{BUCKET}/large", "rb") as file:
        file.seek(10 * MIB)
        assert file.read(10) == data[10 * MIB : 10 * MIB + 10]


def test_arrow_files_and_folders(service: BlobService, arrow: Any) -> None:
    arrow.create_dir(f"{BUCKET}/arrow/sub")
    with arrow.open_output_stream(f"{BUCKET}/arrow/sub/é 1+%", metadata={"Content-Type": "text/plain"}) as stream:
        stream.write(b"content")
    assert (service.folder / "arrow" / "sub" / "é 1+%").read_bytes() == b"content"
    info = arrow.get_file_info([f"{BUCKET}/arrow/sub/é 1+%", f"{BUCKET}/arrow/sub", f"{BUCKET}/arrow/none"])
    kinds = [arrow_fs.FileType.File, arrow_fs.FileType.Directory, arrow_fs.FileType.NotFound]
    assert ([entry.type for entry in info], info[0].size) == (kinds, 7)
    with arrow.open_input_file(f"{BUCKET}/arrow/sub/é 1+%") as file:
        assert file.read_at(3, 4) == b"ent"
    selected = arrow.get_file_info(arrow_fs.FileSelector(f"{BUCKET}/arrow", recursive=True))
    assert sorted(entry.path for entry in selected) == [f"{BUCKET}/arrow/sub", f"{BUCKET}/arrow/sub/é 1+%"]
    arrow.move(f"{BUCKET}/arrow/sub/é 1+%", f"{BUCKET}/arrow/moved")
    arrow.delete_dir(f"{BUCKET}/arrow/sub")
    arrow.delete_file(f"{BUCKET}/arrow/moved")
    assert arrow.get_file_info(f"{BUCKET}/arrow/moved").type == arrow_fs.FileType.NotFound


def test_arrow_tables(arrow: Any) -> None:
    table = pa.table({"key": [n % 3 for n in range(300_000)], "value": [float(n) for n in range(300_000)]})
    parquet.write_table(table, f"{BUCKET}/table.parquet", filesystem=arrow)
    assert parquet.read_table(f"{BUCKET}/table.parquet", filesystem=arrow).equals(table)
    parquet.write_to_dataset(table, f"{BUCKET}/parts", partition_cols=["key"], filesystem=arrow)
    read = parquet.read_table(f"{BUCKET}/parts", filesystem=arrow, filters=[("key", "=", 1)])
    assert read.num_rows == 100_000


def test_arrow_writes_large_blobs_in_parts(service: BlobService, arrow: Any) -> None:
    data = os.urandom(11 * MIB)
    with arrow.open_output_stream(f"{BUCKET}/arrow-large") as stream:
        for start in range(0, len(data), MIB):
            stream.write(data[start : start + MIB])
    assert (service.folder / "arrow-large").read_bytes() == data
    assert list((service.root / ".meta" / "uploads").iterdir()) == []


READ_WITH_THE_ENVIRONMENT_ONLY = """
import json, sys
import boto3, fsspec, pyarrow.fs
from flytekit import FlyteContextManager
uri = sys.argv[1]
bucket, key = uri.removeprefix("s3://").split("/", 1)
found = {
    "botocore": boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read(),
    "s3fs": fsspec.open(uri).open().read(),
}
filesystem, path = pyarrow.fs.FileSystem.from_uri(uri)
found["arrow"] = filesystem.open_input_stream(path).read()
access = FlyteContextManager.current_context().file_access
access.put_data(sys.argv[2], f"s3://{bucket}/by-flytekit", is_multipart=False)
found["flytekit"] = access.get_filesystem_for_path(uri).cat_file(uri)
print(json.dumps({name: data.decode() for name, data in found.items()}))
"""


def test_tasks_find_the_endpoint_by_their_environment(service: BlobService, tmp_path: Path) -> None:
    service.blobs.write(f"s3://{BUCKET}/by-environment", b"found")
    upload = tmp_path / "upload"
    upload.write_bytes(b"uploaded")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FLYTE_"))}
    command = [sys.executable, "-c", READ_WITH_THE_ENVIRONMENT_ONLY, f"s3://{BUCKET}/by-environment", str(upload)]
    environment = {**bare, **service.blobs.task_environment(), "HOME": str(tmp_path)}
    run = subprocess.run(command, env=environment, capture_output=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr.decode()
    found = json.loads(run.stdout.decode().splitlines()[-1])
    assert found == dict.fromkeys(("botocore", "s3fs", "arrow", "flytekit"), "found")
    assert service.blobs.read(f"s3://{BUCKET}/by-flytekit") == b"uploaded"
