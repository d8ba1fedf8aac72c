"""Are code distributions unpacked once, whole, and within their folder?"""

from __future__ import annotations

import io
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flyte_kernel.errors import AdapterError, PluginError
from flyte_kernel.executors.distributions import Distributions
from tests.support.attempts import files, tarball

URI = "s3://bucket/fast.tar.gz"


def distributions(folder: Path, fetch: Callable[[str], bytes]) -> Distributions:
    return Distributions(folder, fetch, Path(sys.executable))


@pytest.mark.parametrize("mode", ["w:gz", "w", "w:bz2"])
def test_files_of_compressed_and_plain_archives(tmp_path: Path, mode: str) -> None:
    data = tarball({"flows/a.py": "A = 1\n", "data.txt": "text"}, mode)
    folder = distributions(tmp_path, files({URI: data})).unpacked(URI)
    assert (folder / "flows" / "a.py").read_text() == "A = 1\n"
    assert (folder / "data.txt").read_text() == "text"
    assert [path.suffix for path in (folder / "flows" / "__pycache__").iterdir()] == [".pyc"]


def test_one_fetch_for_many_uses(tmp_path: Path) -> None:
    fetched = []

    def fetch(uri: str) -> bytes:
        fetched.append(uri)
        return tarball({"a.py": ""})

    cache = distributions(tmp_path, fetch)
    assert cache.find(URI) is None
    assert cache.unpacked(URI) == cache.unpacked(URI) == cache.find(URI)
    assert fetched == [URI]


def test_same_content_shares_a_folder_and_changed_content_gets_its_own(tmp_path: Path) -> None:
    blobs = {"s3://a": tarball({"a.py": "1"}), "s3://b": tarball({"a.py": "2"})}
    blobs["s3://c"] = blobs["s3://a"]
    cache = distributions(tmp_path, files(blobs))
    assert cache.unpacked("s3://a") == cache.unpacked("s3://c") != cache.unpacked("s3://b")


def test_new_server_sees_content_that_changed_under_the_same_name(tmp_path: Path) -> None:
    distributions(tmp_path, files({URI: tarball({"a.py": "1"})})).unpacked(URI)
    folder = distributions(tmp_path, files({URI: tarball({"a.py": "2"})})).unpacked(URI)
    assert (folder / "a.py").read_text() == "2"


def test_module_that_does_not_compile_is_left_to_its_task(tmp_path: Path) -> None:
    folder = distributions(tmp_path, files({URI: tarball({"a.py": "def ("})})).unpacked(URI)
    assert (folder / "a.py").read_text() == "def ("


def test_pickle_keeps_its_name(tmp_path: Path) -> None:
    folder = distributions(tmp_path, files({"s3://x/pkl.gz": b"pickled"})).unpacked("s3://x/pkl.gz")
    assert (folder / "pkl.gz").read_bytes() == b"pickled"


def test_missing_archive_may_be_uploaded_later(tmp_path: Path) -> None:
    blobs: dict[str, bytes] = {}
    cache = distributions(tmp_path, files(blobs))
    with pytest.raises(PluginError, match=f"{URI} does not exist: register the workflow again"):
        cache.unpacked(URI)
    blobs[URI] = tarball({"a.py": "1"})
    assert (cache.unpacked(URI) / "a.py").exists()


def test_failing_store_is_passed_on(tmp_path: Path) -> None:
    def fetch(uri: str) -> bytes:
        raise AdapterError(uri, retryable=True)

    with pytest.raises(AdapterError):
        distributions(tmp_path, fetch).unpacked(URI)


def test_broken_archives_leave_nothing_that_counts(tmp_path: Path) -> None:
    whole = tarball({"a.py": "x" * 100_000, "b.py": "y"}, "w")
    for data in (b"", b"text", whole[:2000], tarball({"a.py": "1"})[:-20]):
        with pytest.raises(PluginError, match="cannot be unpacked"):
            distributions(tmp_path, files({URI: data})).unpacked(URI)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".new"] == []


def archive(*members: tuple[str, bytes, str]) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as target:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            target.addfile(member)
    return data.getvalue()


@pytest.mark.parametrize(
    "members",
    [
        [("/etc/escaped", tarfile.REGTYPE, "")],
        [("../escaped", tarfile.REGTYPE, "")],
        [("a/../../escaped", tarfile.REGTYPE, "")],
        [("out", tarfile.SYMTYPE, "/etc")],
        [("a/out", tarfile.SYMTYPE, "../../x")],
        [("hard", tarfile.LNKTYPE, "../x")],
        [("out", tarfile.SYMTYPE, "a"), ("out/escaped", tarfile.REGTYPE, "")],
        [("pipe", tarfile.FIFOTYPE, "")],
        [("device", tarfile.CHRTYPE, "")],
    ],
)
def test_members_that_lead_out_are_refused(tmp_path: Path, members: list[tuple[str, bytes, str]]) -> None:
    inside = tmp_path / "inside"
    with pytest.raises(PluginError, match="leads out of its folder"):
        distributions(inside, files({URI: archive(*members)})).unpacked(URI)
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]


def test_links_within_the_folder_are_kept(tmp_path: Path) -> None:
    data = archive(("a", tarfile.REGTYPE, ""), ("d/link", tarfile.SYMTYPE, "../a"), ("hard", tarfile.LNKTYPE, "a"))
    folder = distributions(tmp_path, files({URI: data})).unpacked(URI)
    assert (folder / "d" / "link").resolve() == folder / "a"
    assert (folder / "hard").exists()
