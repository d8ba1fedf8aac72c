"""The blob endpoint keeps S3's promises to botocore and over raw HTTP."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.blob_server import (
    BUCKET,
    REGION,
    BlobService,
    blob_service,
    error_of,
    etag,
    get,
    keys,
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


# Objects


@pytest.mark.parametrize(
    "key",
    [
        "plain",
        "deep/er/and/deeper",
        "a b+c",
        "100%25/%2e%2e/é",
        "ключ/鍵/🔑",
        "?query=1&x#fragment",
        "'quotes\"<xml>&amp;",
        "line\nbreak\x01",
        ".hidden/..dots../...",
        "base32====/fast0123.tar.gz",
        "s" * 255,
    ],
)
def test_a_key_is_a_file_and_comes_back(shared: BlobService, client: Any, key: str) -> None:
    body = f"content of {key}".encode()
    assert put(client, f"odd/{key}", body)["ETag"] == etag(body)
    assert (shared.folder / "odd" / key).read_bytes() == body
    assert get(client, f"odd/{key}") == body
    assert f"odd/{key}" in keys(client, Prefix="odd/")
    assert f"odd/{key}" in [
        entry["Key"] for entry in client.list_objects(Bucket=BUCKET, Prefix=f"odd/{key}")["Contents"]
    ]
    if key.isprintable():
        client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": f"odd/{key}"}]})
    else:  # XML, which the other request is, cannot carry such a key
        client.delete_object(Bucket=BUCKET, Key=f"odd/{key}")
    assert not (shared.folder / "odd" / key).exists()


def test_headers_come_back_as_they_were_given(client: Any) -> None:
    given = {
        "ContentType": "text/x-test; charset=utf-8",
        "CacheControl": "no-store",
        "ContentDisposition": 'attachment; filename="x"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Metadata": {"flytecontentmd5": "abc=", "other": "two words"},
    }
    put(client, "headers", b"12345", **given)
    for answer in (client.get_object(Bucket=BUCKET, Key="headers"), client.head_object(Bucket=BUCKET, Key="headers")):
        assert {name: answer[name] for name in given} == given
        assert (answer["ContentLength"], answer["ETag"]) == (5, etag(b"12345"))
    put(client, "headers", b"12345")
    answer = client.head_object(Bucket=BUCKET, Key="headers")
    assert (answer["Metadata"], answer["ContentType"]) == ({}, "binary/octet-stream")


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 3 * MIB + 7])
def test_bodies_of_all_sizes(shared: BlobService, client: Any, size: int) -> None:
    body = os.urandom(size)
    assert put(client, "sized", body)["ETag"] == etag(body)
    assert get(client, "sized") == body
    assert shared.leftovers() == []


def test_ranges(client: Any) -> None:
    body = bytes(range(256)) * 4096
    put(client, "ranged", body)
    for text, expected in [
        ("bytes=0-0", body[:1]),
        ("bytes=10-19", body[10:20]),
        ("bytes=1048570-", body[1048570:]),
        ("bytes=-3", body[-3:]),
        ("bytes=5-99999999", body[5:]),
    ]:
        answer = client.get_object(Bucket=BUCKET, Key="ranged", Range=text)
        assert answer["Body"].read() == expected
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["ContentRange"] == f"bytes 5-{len(body) - 1}/{len(body)}"
    assert error_of(get, client, "ranged", Range=f"bytes={len(body)}-") == ("InvalidRange", 416)


def test_conditions(client: Any) -> None:
    put(client, "conditional", b"one")
    assert get(client, "conditional", IfMatch=etag(b"one")) == b"one"
    assert error_of(get, client, "conditional", IfMatch=etag(b"two")) == ("PreconditionFailed", 412)
    assert error_of(get, client, "conditional", IfNoneMatch=etag(b"one"))[1] == 304
    assert error_of(put, client, "conditional", b"two", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert error_of(put, client, "conditional", b"two", IfMatch=etag(b"two")) == ("PreconditionFailed", 412)
    assert get(client, "conditional") == b"one"
    put(client, "conditional", b"two", IfMatch=etag(b"one"))
    assert get(client, "conditional") == b"two"
    put(client, "conditional-new", b"three", IfNoneMatch="*")
    assert get(client, "conditional-new") == b"three"


def test_what_is_not_there(client: Any) -> None:
    put(client, "there/file")
    for key in ("nowhere", "there", "there/", "there/file/below", "there/fil"):
        assert error_of(get, client, key) == ("NoSuchKey", 404)
        assert error_of(client.head_object, Bucket=BUCKET, Key=key)[1] == 404
        client.delete_object(Bucket=BUCKET, Key=key)
    assert get(client, "there/file") == b"content"
    assert error_of(client.get_object, Bucket="no-bucket", Key="k") == ("NoSuchBucket", 404)
    assert error_of(client.put_object, Bucket="no-bucket", Key="k", Body=b"") == ("NoSuchBucket", 404)


def test_copies(client: Any) -> None:
    put(client, "copy/source é+", b"source", Metadata={"a": "1"}, ContentType="text/plain")
    source = {"Bucket": BUCKET, "Key": "copy/source é+"}
    answer = client.copy_object(Bucket=BUCKET, Key="copy/same", CopySource=source)
    assert answer["CopyObjectResult"]["ETag"] == etag(b"source")
    copied = client.get_object(Bucket=BUCKET, Key="copy/same")
    assert (copied["Body"].read(), copied["Metadata"], copied["ContentType"]) == (b"source", {"a": "1"}, "text/plain")
    client.copy_object(
        Bucket=BUCKET, Key="copy/other", CopySource=source, MetadataDirective="REPLACE", Metadata={"b": "2"}
    )
    assert client.head_object(Bucket=BUCKET, Key="copy/other")["Metadata"] == {"b": "2"}
    absent = {"Bucket": BUCKET, "Key": "copy/absent"}
    assert error_of(client.copy_object, Bucket=BUCKET, Key="copy/x", CopySource=absent) == ("NoSuchKey", 404)


def test_deletes_leave_no_trace(service: BlobService) -> None:
    client = service.client()
    for key in ("a/b/c", "a/b/d", "e"):
        put(client, key, Metadata={"x": "y"})
    client.delete_object(Bucket=BUCKET, Key="a/b/c")
    assert keys(client) == ["a/b/d", "e"]
    answer = client.delete_objects(
        Bucket=BUCKET, Delete={"Objects": [{"Key": "a/b/d"}, {"Key": "e"}, {"Key": "absent"}, {"Key": "../x"}]}
    )
    assert [entry["Key"] for entry in answer["Deleted"]] == ["a/b/d", "e", "absent"]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("../x", "InvalidArgument")]
    assert list(service.folder.iterdir()) == []
    assert list((service.root / ".meta" / "objects" / BUCKET).iterdir()) == []


def test_folders_that_clients_store_as_objects(service: BlobService) -> None:
    client = service.client()
    put(client, "folder/", b"", ContentType="application/x-directory")
    put(client, "folder/file")
    assert keys(client) == ["folder/", "folder/file"]
    assert client.head_object(Bucket=BUCKET, Key="folder/")["ContentType"] == "application/x-directory"
    client.delete_object(Bucket=BUCKET, Key="folder/file")
    assert keys(client) == ["folder/"]
    assert error_of(put, client, "folder", b"x") == ("InvalidRequest", 409)
    client.delete_object(Bucket=BUCKET, Key="folder/")
    assert (keys(client), list(service.folder.iterdir())) == ([], [])
    assert error_of(put, client, "folder/", b"x") == ("InvalidRequest", 400)


# Listings


def test_pages_and_delimiters(service: BlobService) -> None:
    client = service.client()
    names = [f"p/{letter}/{index}" for letter in "abc" for index in range(4)] + ["p/a.txt", "p/é", "q"]
    for name in names:
        put(client, name)
    for operation in ("list_objects", "list_objects_v2"):
        pages = client.get_paginator(operation)
        found = [
            entry["Key"]
            for page in pages.paginate(Bucket=BUCKET, PaginationConfig={"PageSize": 2})
            for entry in page["Contents"]
        ]
        assert found == sorted(names, key=str.encode)
        objects, prefixes = [], []
        for page in pages.paginate(Bucket=BUCKET, Prefix="p/", Delimiter="/", PaginationConfig={"PageSize": 1}):
            objects += [entry["Key"] for entry in page.get("Contents", [])]
            prefixes += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        assert (objects, prefixes) == (["p/a.txt", "p/é"], ["p/a/", "p/b/", "p/c/"])
    page = client.list_objects_v2(Bucket=BUCKET, Prefix="p/a/", MaxKeys=3)
    assert (page["KeyCount"], page["IsTruncated"], page["Contents"][0]["Size"]) == (3, True, 7)
    assert page["Contents"][0]["ETag"] == etag(b"content")
    assert keys(client, StartAfter="p/c/2") == ["p/c/3", "p/é", "q"]
    bad_token = {"Bucket": BUCKET, "ContinuationToken": "%%%"}
    assert error_of(client.list_objects_v2, **bad_token) == ("InvalidArgument", 400)


def test_buckets(service: BlobService) -> None:
    client = service.client()
    client.create_bucket(Bucket="second-bucket")
    assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == [BUCKET, "second-bucket"]
    assert error_of(client.create_bucket, Bucket=BUCKET) == ("BucketAlreadyOwnedByYou", 409)
    assert error_of(client.create_bucket, Bucket="healthcheck") == ("InvalidBucketName", 400)
    assert client.get_bucket_location(Bucket=BUCKET)["LocationConstraint"] is None
    assert client.head_bucket(Bucket=BUCKET)["BucketRegion"] == REGION
    assert error_of(client.head_bucket, Bucket="third-bucket")[1] == 404
    client.put_object(Bucket="second-bucket", Key="a/b", Body=b"")
    assert error_of(client.delete_bucket, Bucket="second-bucket") == ("BucketNotEmpty", 409)
    client.delete_object(Bucket="second-bucket", Key="a/b")
    (service.root / "second-bucket" / "empty" / "folder").mkdir(parents=True)
    client.delete_bucket(Bucket="second-bucket")
    assert not (service.root / "second-bucket").exists()


# Multipart uploads


def test_a_multipart_upload(service: BlobService) -> None:
    client = service.client()
    first, second, third = os.urandom(5 * MIB), os.urandom(5 * MIB), b"end"
    name = {"Bucket": BUCKET, "Key": "big/é"}
    upload = client.create_multipart_upload(**name, Metadata={"a": "1"}, ContentType="text/plain")["UploadId"]
    name["UploadId"] = upload
    stale = client.upload_part(**name, PartNumber=2, Body=b"overwritten")["ETag"]
    parts = [
        {"PartNumber": number, "ETag": client.upload_part(**name, PartNumber=number, Body=body)["ETag"]}
        for number, body in ((7, third), (2, second), (1, first))
    ][::-1]
    listed = client.list_parts(**name, MaxParts=2)
    assert [(part["PartNumber"], part["Size"]) for part in listed["Parts"]] == [(1, 5 * MIB), (2, 5 * MIB)]
    assert (listed["IsTruncated"], listed["NextPartNumberMarker"]) == (True, 2)
    assert [part["PartNumber"] for part in client.list_parts(**name, PartNumberMarker=2)["Parts"]] == [7]
    uploads = client.list_multipart_uploads(Bucket=BUCKET, Prefix="big/")["Uploads"]
    assert [(entry["Key"], entry["UploadId"]) for entry in uploads] == [("big/é", upload)]
    assert keys(client) == []

    def complete(chosen: list[dict[str, Any]]) -> Any:
        return client.complete_multipart_upload(**name, MultipartUpload={"Parts": chosen})

    assert error_of(complete, parts[::-1]) == ("InvalidPartOrder", 400)
    assert error_of(complete, [parts[0], {"PartNumber": 2, "ETag": stale}]) == ("InvalidPart", 400)
    assert complete(parts)["Key"] == "big/é"
    digests = b"".join(hashlib.md5(body).digest() for body in (first, second, third))
    answer = client.get_object(Bucket=BUCKET, Key="big/é")
    assert answer["Body"].read() == first + second + third
    assert answer["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    assert (answer["Metadata"], answer["ContentType"]) == ({"a": "1"}, "text/plain")
    assert error_of(complete, parts) == ("NoSuchUpload", 404)
    assert list((service.root / ".meta" / "uploads").iterdir()) == []


def test_multipart_uploads_that_fail(service: BlobService) -> None:
    client = service.client()
    name = {"Bucket": BUCKET, "Key": "big"}
    upload = client.create_multipart_upload(**name)["UploadId"]
    small = [
        {"PartNumber": n, "ETag": client.upload_part(**name, UploadId=upload, PartNumber=n, Body=b"x")["ETag"]}
        for n in (1, 2)
    ]
    chosen = {"MultipartUpload": {"Parts": small}, "UploadId": upload}
    assert error_of(client.complete_multipart_upload, **name, **chosen) == ("EntityTooSmall", 400)
    part = {"UploadId": upload, "PartNumber": 1, "Body": b"y"}
    assert error_of(client.upload_part, **name, **part, ContentMD5=md5_text(b"z")) == ("BadDigest", 400)
    assert error_of(client.upload_part, **name, **{**part, "PartNumber": 10001}) == ("InvalidArgument", 400)
    assert error_of(client.upload_part, Bucket=BUCKET, Key="other", **part) == ("NoSuchUpload", 404)
    for odd in ("../../flyte", "x", "0" * 32):
        assert error_of(client.upload_part, **name, **{**part, "UploadId": odd}) == ("NoSuchUpload", 404)
    client.abort_multipart_upload(**name, UploadId=upload)
    assert error_of(client.abort_multipart_upload, **name, UploadId=upload) == ("NoSuchUpload", 404)
    assert (keys(client), service.leftovers()) == ([], [])
    assert list((service.root / ".meta" / "uploads").iterdir()) == []


def test_parts_that_are_copies(client: Any) -> None:
    put(client, "part-source", bytes(range(100)))
    name = {"Bucket": BUCKET, "Key": "of-copies"}
    upload = client.create_multipart_upload(**name)["UploadId"]
    source = {"Bucket": BUCKET, "Key": "part-source"}
    copied = client.upload_part_copy(
        **name, UploadId=upload, PartNumber=1, CopySource=source, CopySourceRange="bytes=10-19"
    )
    part = {"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}
    client.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": [part]})
    assert get(client, "of-copies") == bytes(range(10, 20))


# Files of the same folder


def test_a_file_without_a_record_is_an_object(service: BlobService) -> None:
    client = service.client()
    path = service.folder / "direct" / "file"
    path.parent.mkdir()
    path.write_bytes(b"by path")
    answer = client.get_object(Bucket=BUCKET, Key="direct/file")
    assert (answer["Body"].read(), answer["Metadata"]) == (b"by path", {})
    assert answer["ETag"].endswith('-1"')  # not to be taken for an MD5
    assert keys(client) == ["direct/file"]
    path.unlink()
    assert error_of(get, client, "direct/file") == ("NoSuchKey", 404)
    put(client, "direct", b"a folder without files is none")
    assert path.parent.read_bytes() == b"a folder without files is none"


def test_a_record_of_an_earlier_file_is_ignored(service: BlobService) -> None:
    client = service.client()
    put(client, "k", b"by S3", Metadata={"a": "1"})
    service.blobs.write("s3://flyte/k", b"by path, longer")
    answer = client.get_object(Bucket=BUCKET, Key="k")
    assert (answer["Body"].read(), answer["Metadata"]) == (b"by path, longer", {})
    assert answer["ETag"] not in (etag(b"by S3"), etag(b"by path, longer"))


def test_keys_that_cannot_be_files_are_refused(service: BlobService) -> None:
    client = service.client()
    outside = service.root.parent / "outside"
    outside.write_bytes(b"outside")
    for key in ("../outside", "../../outside", "a/../../../outside", "/etc/passwd", "a//b", "./a", "a/.", "nul\0"):
        for call in (get, put):
            assert error_of(call, client, key) == ("InvalidArgument", 400), key
        assert error_of(client.delete_object, Bucket=BUCKET, Key=key) == ("InvalidArgument", 400)
    assert error_of(put, client, "x/" + "n" * 256) == ("KeyTooLongError", 400)
    assert error_of(put, client, "k/" * 600 + "k") == ("KeyTooLongError", 400)
    for prefix in ("../", "/", "a/../", "..", ".meta/"):
        assert keys(client, Prefix=prefix) == []
    for bucket in (".meta", "..", ".", "a/../.."):
        answer = send(f"{service.url}/{quote(bucket)}/objects", headers={})
        assert answer.code == "InvalidBucketName", bucket
    assert outside.read_bytes() == b"outside"
    assert (list(service.folder.iterdir()), service.leftovers()) == ([], [])


def test_links_do_not_lead_outside(service: BlobService) -> None:
    client = service.client()
    outside = service.root.parent / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (service.folder / "folder").symlink_to(outside)
    (service.folder / "file").symlink_to(outside / "secret")
    (service.folder / "up").symlink_to("../../outside")
    for key in ("folder/secret", "file", "up/secret"):
        assert error_of(get, client, key) == ("AccessDenied", 403), key
    for key in ("folder/new", "up/new", "folder/secret"):
        assert error_of(put, client, key) == ("AccessDenied", 403), key
        assert error_of(client.delete_object, Bucket=BUCKET, Key=key) == ("AccessDenied", 403), key
    assert keys(client) == []
    put(client, "file", b"replaces the link, not what it leads to")
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_name_is_a_file_or_a_folder(service: BlobService) -> None:
    client = service.client()
    put(client, "a", b"file")
    put(client, "b/c", b"file")
    assert error_of(put, client, "a/b") == ("InvalidRequest", 409)
    assert error_of(put, client, "a/b/c/d") == ("InvalidRequest", 409)
    assert error_of(put, client, "b") == ("InvalidRequest", 409)
    assert (get(client, "a"), get(client, "b/c"), keys(client)) == (b"file", b"file", ["a", "b/c"])
    assert service.leftovers() == []


def test_a_named_pipe_holds_nobody(service: BlobService) -> None:
    os.mkfifo(service.folder / "pipe")
    assert error_of(get, service.client(), "pipe") == ("NoSuchKey", 404)


# Many at once


def test_readers_see_whole_versions(service: BlobService) -> None:
    """Every version has one letter, its own length and its own metadata: a mixture of two would show."""
    versions = {letter: letter.encode() * (400_000 + 1_000 * ord(letter)) for letter in "abcdef"}
    stop = threading.Event()
    failures: list[BaseException] = []

    def guarded(work: Any) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except BaseException as error:
                failures.append(error)
                stop.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def write_all() -> None:
        client = service.client()
        for _ in range(5):
            for letter, body in versions.items():
                put(client, "contested/key", body, Metadata={"letter": letter})

    def read_until_stopped() -> None:
        client = service.client()
        while not stop.is_set():
            answer = client.get_object(Bucket=BUCKET, Key="contested/key")
            body = answer["Body"].read()
            letter = chr(body[0])
            assert body == versions[letter]
            assert (answer["Metadata"], answer["ETag"]) == ({"letter": letter}, etag(body))

    put(service.client(), "contested/key", versions["a"], Metadata={"letter": "a"})
    readers = [guarded(read_until_stopped) for _ in range(3)]
    for writer in [guarded(write_all) for _ in range(3)]:
        writer.join()
    stop.set()
    for reader in readers:
        reader.join()
    assert failures == []
    assert service.leftovers() == []


def test_writers_and_deleters_of_one_folder(service: BlobService) -> None:
    """A delete takes empty folders with it, and a write at the same moment needs them."""
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            client, blobs = service.client(), service.blobs
            for _ in range(40):
                put(client, f"shared/folder/{name}")
                client.delete_object(Bucket=BUCKET, Key=f"shared/folder/{name}")
                blobs.write(f"s3://{BUCKET}/shared/folder/{name}", b"by path")
                client.delete_object(Bucket=BUCKET, Key=f"shared/folder/{name}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert list(service.folder.iterdir()) == []


# What there is not


def test_unknown_operations_say_so(shared: BlobService, client: Any) -> None:
    put(client, "plain")
    name = {"Bucket": BUCKET, "Key": "plain"}
    for call, options in (
        (client.get_bucket_versioning, {"Bucket": BUCKET}),
        (client.get_object_tagging, name),
        (client.put_object_acl, {**name, "ACL": "private"}),
        (client.put_object, {**name, "Tagging": "a=b"}),
        (client.put_object, {**name, "ServerSideEncryption": "AES256"}),
        (client.get_object, {**name, "PartNumber": 1}),
    ):
        assert error_of(call, **options) == ("NotImplemented", 501), call
    assert error_of(client.get_object, **name, VersionId="v1") == ("NoSuchVersion", 404)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = send(f"{shared.url}/{BUCKET}", "POST", b"--x--", form)
    assert (answer.status, answer.code) == (501, "NotImplemented")


def test_the_health_check_needs_no_key(shared: BlobService) -> None:
    answer = send(f"{shared.url}/healthcheck")
    assert (answer.status, answer.body) == (200, b"ok")
