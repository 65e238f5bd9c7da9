"""Downloads from servers that stall, cut, lie, change their files, redirect, and are gone."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import http.server
import io
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from openpaf import weights
from openpaf.cli import main
from openpaf.errors import WeightsError
from openpaf.geometry import Grid
from openpaf.io import http_stream
from openpaf.skeleton import Skeleton
from openpaf.weights import download, mirrors, published
from openpaf.weights.published import Published


def _checkpoint() -> bytes:
    out = io.BytesIO()
    torch.save({"a": torch.arange(250_000.0)}, out)
    return out.getvalue()


FILE = _checkpoint()
SHA256, MD5 = hashlib.sha256(FILE).hexdigest(), hashlib.md5(FILE).hexdigest()
OTHER = bytes(reversed(FILE))
OLD = FILE[:5000] + bytes(1000) + FILE[6000:]  # a checkpoint too, with other numbers
ETAG = '"one"'


class Server(http.server.ThreadingHTTPServer):
    """Serves each path by the function of that name below, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.stop = threading.Event()

    def handle_error(self, *args: object) -> None:
        pass  # a client that goes away is what is tested

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"

    def asked_for(self, path: str) -> int:
        return sum(name == path for name, _ in self.asked)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        self.server.asked.append((name, self.headers.get("Range")))
        BEHAVIOUR[name](self)

    def log_message(self, *args: object) -> None:
        pass

    def start(self) -> int:
        """Where the client wants the file from, if it has the version that is here."""
        wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        return int(wanted[1]) if wanted and self.headers.get("If-Range") == ETAG else 0

    def head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def first_time(self) -> bool:
        return self.server.asked_for(self.path.lstrip("/")) == 1


def good(self: Handler) -> None:
    start = self.start()
    if start:
        span = f"bytes {start}-{len(FILE) - 1}/{len(FILE)}"
        self.head(206, len(FILE) - start, ETag=ETAG, Content_Range=span)
    else:
        self.head(200, len(FILE), ETag=ETAG)
    self.wfile.write(FILE[start:])


def cut(self: Handler) -> None:
    """Half of it at the first request, the rest at the next."""
    if not self.first_time():
        return good(self)
    self.head(200, len(FILE), ETag=ETAG)
    self.wfile.write(FILE[: len(FILE) // 2])
    return None


def stall(self: Handler) -> None:
    if not self.first_time():
        return good(self)
    self.head(200, len(FILE), ETag=ETAG)
    self.wfile.write(FILE[: len(FILE) // 2])
    self.wfile.flush()
    self.server.stop.wait(20)
    return None


def dead(self: Handler) -> None:
    self.server.stop.wait(20)


def ignores_range(self: Handler) -> None:
    self.head(200, len(FILE), ETag=ETAG)
    self.wfile.write(FILE[: len(FILE) // 2] if self.first_time() else FILE)


def no_version(self: Handler) -> None:
    self.head(200, len(FILE))
    self.wfile.write(FILE[: len(FILE) // 2] if self.first_time() else FILE)


def changes(self: Handler) -> None:
    """Another file at the first request than later, under another ETag."""
    if not self.first_time():
        return good(self)
    self.head(200, len(OTHER), ETag='"two"')
    self.wfile.write(OTHER[: len(OTHER) // 2])
    return None


def changes_in_secret(self: Handler) -> None:
    """The same, under the same ETag: two halves of two files."""
    if not self.first_time():
        return good(self)
    self.head(200, len(OTHER), ETag=ETAG)
    self.wfile.write(OTHER[: len(OTHER) // 2])
    return None


def changes_and_ignores_if_range(self: Handler) -> None:
    """Half of an old file; then, if asked, the second half of the new one."""
    if self.first_time():
        self.head(200, len(OLD), ETag=ETAG)
        self.wfile.write(OLD[: len(OLD) // 2])
        return None
    wanted = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
    if not wanted:
        return good(self)
    start = int(wanted[1])
    span = f"bytes {start}-{len(FILE) - 1}/{len(FILE)}"
    self.head(206, len(FILE) - start, ETag='"new"', Content_Range=span)
    self.wfile.write(FILE[start:])
    return None


def wrong_part(self: Handler) -> None:
    """Half of it, then a part from somewhere else, then all."""
    n = self.server.asked_for("wrong_part")
    if n == 1:
        self.head(200, len(FILE), ETag=ETAG)
        self.wfile.write(FILE[: len(FILE) // 2])
    elif n == 2:
        self.head(206, 10, ETag=ETAG, Content_Range=f"bytes 0-9/{len(FILE)}")
        self.wfile.write(FILE[:10])
    else:
        good(self)


def range_refused(self: Handler) -> None:
    if self.headers.get("Range"):
        self.head(416, 0)
    elif self.first_time():
        cut(self)
    else:
        good(self)


def says_less(self: Handler) -> None:
    self.head(200, len(FILE) - 1000, ETag=ETAG)
    self.wfile.write(FILE[: len(FILE) - 1000])


def says_more(self: Handler) -> None:
    if self.start():
        self.head(416, 0)
    else:
        self.head(200, len(FILE) + 1000, ETag=ETAG)
        self.wfile.write(FILE)


def too_large(self: Handler) -> None:
    self.head(200, 1 << 60, ETag=ETAG)


def endless(self: Handler) -> None:
    """Many times the file, without saying how much."""
    self.send_response(200)
    self.end_headers()
    for _ in range(100):
        self.wfile.write(FILE)


def trickle(self: Handler) -> None:
    """A byte at a time, so that no wait for the next one is long."""
    self.head(200, len(FILE), ETag=ETAG)
    for byte in FILE:
        self.wfile.write(bytes([byte]))
        self.wfile.flush()
        if self.server.stop.wait(0.02):
            return


def trickle_headers(self: Handler) -> None:
    self.send_response_only(200)
    self.flush_headers()
    for _ in range(10_000):
        self.wfile.write(b"X")
        self.wfile.flush()
        if self.server.stop.wait(0.02):
            return


def other(self: Handler) -> None:
    self.head(200, len(OTHER), ETag=ETAG)
    self.wfile.write(OTHER)


def page(self: Handler) -> None:
    text = b"<!DOCTYPE html><html>The file has moved.</html>"
    self.head(200, len(text), Content_Type="text/html; charset=utf-8")
    self.wfile.write(text)


def page_as_file(self: Handler) -> None:
    text = b"\n<html>Sign in to the network.</html>"
    self.head(200, len(text), Content_Type="application/octet-stream")
    self.wfile.write(text)


def busy_once(self: Handler) -> None:
    if self.first_time():
        self.head(503, 0)
    else:
        good(self)


def slow(self: Handler) -> None:
    self.head(200, len(FILE), ETag=ETAG)
    for i in range(10):
        self.wfile.write(FILE[i * len(FILE) // 10 : (i + 1) * len(FILE) // 10])
        self.wfile.flush()
        time.sleep(0.15)


BROKEN_LINKS = [
    "http://[::1", "http://", "http://a..b/", "http://" + "a" * 100 + ".example/", "//:0:0/",
    "http://127.0.0.1:99999999/", "file:///etc/hostname", "ftp://127.0.0.1/file", "data:,x",
    "http://\xff\xfe/", "http://%zz/", "javascript:alert(1)",
]  # fmt: skip

BEHAVIOUR: dict[str, Callable[[Handler], None]] = {
    f.__name__: f
    for f in (
        good, cut, stall, dead, ignores_range, no_version, changes, changes_in_secret, wrong_part,
        changes_and_ignores_if_range, range_refused, says_less, says_more, too_large, endless,
        trickle, trickle_headers, other, page, page_as_file, busy_once, slow,
    )
} | {
    "gone": lambda self: self.head(404, 0),
    "broken": lambda self: self.head(500, 0),
    "moved": lambda self: self.head(302, 0, Location="/good"),
    "circle": lambda self: self.head(302, 0, Location="/circle"),
    **{
        f"to-{i}": lambda self, link=link: self.head(302, 0, Location=link)
        for i, link in enumerate(BROKEN_LINKS)
    },
}  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(http_stream, "STALL_S", 0.5)
    monkeypatch.setattr(mirrors, "_PAUSE_S", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.stop.set()
    server.shutdown()
    server.server_close()
    thread.join()


ROW = Published(
    name="stand-in",
    suffix=".pth",
    urls=(),
    sha256=SHA256,
    licence="CC0",
    builder="lightweight",
    skeleton=Skeleton.COCO17,
    heatmap_grid=Grid(8),
    paf_grid=Grid(8),
    mean=128.0,
    scale=256.0,
    metrics={"AP": None, "protocol": None},
)


@pytest.fixture
def put(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Published]:
    """Puts a row with these mirrors into the table."""

    def call(*paths: str, **changes: Any) -> Published:
        urls = tuple(path if ":" in path else server.url(path) for path in paths)
        row = dataclasses.replace(ROW, urls=urls, **changes)
        monkeypatch.setitem(published.PUBLISHED, row.name, row)
        return row

    return call


Put = Callable[..., Published]


def names(folder: Path) -> set[str]:
    """What is in the cache, the locks apart."""
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


@pytest.mark.parametrize(
    "path",
    [
        "good", "cut", "stall", "ignores_range", "no_version", "changes", "changes_in_secret",
        "changes_and_ignores_if_range", "wrong_part", "range_refused", "moved", "busy_once",
    ],
)  # fmt: skip
def test_the_file_comes_whole_all_the_same(put: Put, tmp_path: Path, path: str) -> None:
    put(path)
    file = weights.fetch("stand-in", cache=tmp_path)
    assert file == tmp_path / "stand-in.pth"
    assert file.read_bytes() == FILE
    assert names(tmp_path) == {"stand-in.pth"}
    assert download.cached("stand-in", tmp_path) == file


@pytest.mark.parametrize("path", ["cut", "stall"])
def test_the_second_half_is_asked_for_alone(
    put: Put, server: Server, tmp_path: Path, path: str
) -> None:
    put(path)
    weights.fetch("stand-in", cache=tmp_path)
    (_, first), (_, second) = server.asked
    assert first is None
    assert second is not None
    start = int(second.removeprefix("bytes=").removesuffix("-"))
    assert 0 < len(FILE) // 2 - start < 1 << 16  # all that came but for the last piece of it


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("gone", "answers 404"),
        ("broken", "answers 500"),
        ("circle", "redirects in circles"),
        ("page", "answers with a web page instead of the file"),
        ("page_as_file", "answers with a web page instead of the file"),
        ("other", f"another file (expected sha256 {SHA256}, found"),
        ("says_less", f"another file (expected sha256 {SHA256}, found"),
        ("says_more", "the connection broke off"),
        ("dead", "stalled for 0.5 s"),
        ("http://127.0.0.1:9/file", "cannot be reached"),
    ],
)
def test_a_bad_mirror_is_left_for_the_next(put: Put, tmp_path: Path, path: str, said: str) -> None:
    put(path, "good")
    assert weights.fetch("stand-in", cache=tmp_path / "a").read_bytes() == FILE
    put(path)
    with pytest.raises(WeightsError) as caught:
        weights.fetch("stand-in", cache=tmp_path / "b")
    assert f"stand-in: no mirror gave the file: 127.0.0.1: {said}" in str(caught.value)
    assert "--weights PATH" in str(caught.value)
    assert ("offline" in str(caught.value)) == (said == "cannot be reached")
    assert "stand-in.pth" not in names(tmp_path / "b")


def test_an_interrupted_process_is_gone_on_with(put: Put, server: Server, tmp_path: Path) -> None:
    (tmp_path / "stand-in.pth.partial").write_bytes(FILE[:1000])
    note = f'{{"url": "{server.url("good")}", "version": "{ETAG[1:-1]}"}}'
    (tmp_path / "stand-in.pth.partial.json").write_text(note.replace("one", '\\"one\\"'))
    put("good")
    assert weights.fetch("stand-in", cache=tmp_path).read_bytes() == FILE
    assert server.asked == [("good", "bytes=1000-")]


@pytest.mark.parametrize("note", ["", "[]", '{"url": "elsewhere", "version": "x"}', None])
def test_a_part_of_unknown_origin_is_not_gone_on_with(
    put: Put, server: Server, tmp_path: Path, note: str | None
) -> None:
    (tmp_path / "stand-in.pth.partial").write_bytes(OTHER[:1000])
    if note is not None:
        (tmp_path / "stand-in.pth.partial.json").write_text(note)
    put("good")
    assert weights.fetch("stand-in", cache=tmp_path).read_bytes() == FILE
    assert server.asked == [("good", None)]


def test_halves_of_two_files_are_not_put_together(put: Put, server: Server, tmp_path: Path) -> None:
    put("changes_and_ignores_if_range", sha256=None)  # where no hash would tell
    assert weights.fetch("stand-in", cache=tmp_path).read_bytes() == FILE
    assert [wanted is None for _, wanted in server.asked] == [True, False, True]


def test_what_is_there_is_not_fetched_again(put: Put, server: Server, tmp_path: Path) -> None:
    put("good")
    weights.fetch("stand-in", cache=tmp_path)
    weights.fetch("stand-in", cache=tmp_path)
    assert len(server.asked) == 1


def test_a_damaged_file_is_never_loaded_and_fetched_again(put: Put, tmp_path: Path) -> None:
    put("good")
    file = weights.fetch("stand-in", cache=tmp_path)
    file.write_bytes(OTHER)
    with pytest.raises(WeightsError, match=r"expected sha256 .*, found .*fetch stand-in"):
        weights.verify("stand-in", cache=tmp_path)
    with pytest.raises(WeightsError, match="expected sha256"):
        download.cached("stand-in", tmp_path)
    assert weights.fetch("stand-in", cache=tmp_path).read_bytes() == FILE
    assert weights.verify("stand-in", cache=tmp_path) == "sha256"


@pytest.mark.parametrize("digests", [{"sha256": SHA256[:8]}, {"sha256": None, "md5": MD5}])
def test_the_first_digits_or_md5_will_do(put: Put, tmp_path: Path, digests: Any) -> None:
    put("other", "good", **digests)
    assert weights.fetch("stand-in", cache=tmp_path).read_bytes() == FILE
    assert weights.verify("stand-in", cache=tmp_path) in (
        "md5; no sha256 is published", "the first 8 digits of its sha256; no more is published"
    )  # fmt: skip


def test_without_a_hash_it_must_be_a_checkpoint_and_stay_as_it_was(
    put: Put, tmp_path: Path
) -> None:
    put("other", "says_less", sha256=None)
    with pytest.raises(WeightsError, match=r"neither PyTorch's format.*; 127.0.0.1: .*cut short"):
        weights.fetch("stand-in", cache=tmp_path)
    put("good", sha256=None)
    file = weights.fetch("stand-in", cache=tmp_path)
    assert (tmp_path / "stand-in.pth.sha256").read_text().strip() == SHA256
    assert "first download" in weights.verify("stand-in", cache=tmp_path)
    file.write_bytes(OTHER)
    with pytest.raises(WeightsError, match=f"expected sha256 {SHA256}, found"):
        download.cached("stand-in", tmp_path)


@pytest.mark.parametrize("i", range(len(BROKEN_LINKS)), ids=BROKEN_LINKS)
def test_a_redirect_that_cannot_be_followed(put: Put, tmp_path: Path, i: int) -> None:
    put(f"to-{i}", "good")
    assert weights.fetch("stand-in", cache=tmp_path / "a").read_bytes() == FILE
    put(f"to-{i}")
    with pytest.raises(WeightsError, match=r"no mirror gave the file: 127\.0\.0\.1: "):
        weights.fetch("stand-in", cache=tmp_path / "b")
    assert names(tmp_path / "b") == set()


@pytest.mark.parametrize("size", [len(FILE) - 1, len(FILE) + 1])
def test_another_size_than_the_row_says(put: Put, tmp_path: Path, size: int) -> None:
    put("good", size=size)
    with pytest.raises(WeightsError, match=f"offers {len(FILE)} bytes, expected {size}"):
        weights.fetch("stand-in", cache=tmp_path)
    assert names(tmp_path) == set()


@pytest.mark.parametrize("known", [True, False])
def test_what_does_not_end_is_cut_off(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setattr(mirrors, "MAX_DOWNLOAD_BYTES", 2 * len(FILE))
    put("endless", "good", size=len(FILE) if known else None)
    assert weights.fetch("stand-in", cache=tmp_path / "a").read_bytes() == FILE
    put("endless", size=len(FILE) if known else None)
    with pytest.raises(WeightsError, match="sends more bytes than expected, "):
        weights.fetch("stand-in", cache=tmp_path / "b")
    assert names(tmp_path / "b") == set()


@pytest.mark.parametrize(
    ("path", "said"), [("trickle", "too slow: "), ("trickle_headers", "no answer in")]
)
def test_a_mirror_that_trickles_is_given_up(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    monkeypatch.setattr(http_stream, "WINDOW_S", 0.2)
    monkeypatch.setattr(http_stream, "ANSWER_S", 1.0)
    put(path)
    with pytest.raises(WeightsError, match=f"no mirror gave the file: 127.0.0.1: {said}"):
        weights.fetch("stand-in", cache=tmp_path)
    monkeypatch.setattr(http_stream, "WINDOW_S", 10.0)
    monkeypatch.setattr(http_stream, "ANSWER_S", 10.0)
    put("good")
    assert weights.fetch("stand-in", cache=tmp_path).read_bytes() == FILE


def test_a_full_disk(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "MAX_DOWNLOAD_BYTES", 1 << 61)
    put("too_large")
    with pytest.raises(WeightsError, match=r"no space left in .*OPENPAF_CACHE"):
        weights.fetch("stand-in", cache=tmp_path)
    assert names(tmp_path) == set()


def test_a_disk_that_fills_up(put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    put("good")
    monkeypatch.setattr(mirrors.os, "fsync", full)
    with pytest.raises(WeightsError, match=r"no space left in .*--cache DIR"):
        weights.fetch("stand-in", cache=tmp_path)
    assert names(tmp_path) == set()


def test_a_cache_that_is_a_file_or_not_ours(put: Put, tmp_path: Path) -> None:
    put("good")
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match=r"the cache .* cannot be written to .*--cache DIR"):
        weights.fetch("stand-in", cache=tmp_path / "file")
    with pytest.raises(WeightsError, match="cannot be written to"):
        weights.fetch("stand-in", cache="/proc/openpaf")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_cache_without_permission(put: Put, tmp_path: Path) -> None:
    put("good")
    tmp_path.chmod(0o500)
    with pytest.raises(WeightsError, match=r"cannot be written to \(Permission denied\)"):
        weights.fetch("stand-in", cache=tmp_path)
    tmp_path.chmod(0o700)


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OPENPAF_CACHE", raising=False)
    assert weights.cache_folder().name == "openpaf"
    monkeypatch.setenv("OPENPAF_CACHE", str(tmp_path))
    assert weights.cache_folder() == tmp_path
    assert weights.cache_folder(tmp_path / "a") == tmp_path / "a"


def test_the_licence_comes_first(put: Put, server: Server, tmp_path: Path) -> None:
    put("good", restricted=True, licence="non-commercial only")
    with pytest.raises(WeightsError, match=r"must be agreed to .*: non-commercial only"):
        weights.fetch("stand-in", cache=tmp_path)
    assert server.asked == []
    weights.fetch("stand-in", cache=tmp_path, accept_licence=True)
    weights.fetch("stand-in", cache=tmp_path)  # it is there: nothing to agree to


_FETCHER = """
import sys
from openpaf.weights import published
from openpaf import weights
from openpaf.weights.published import Published
url, cache, sha256 = sys.argv[1:]
published.PUBLISHED["stand-in"] = Published(
    name="stand-in", suffix=".pth", urls=(url,), sha256=sha256, licence="CC0", builder="-",
    skeleton=None, mean=0.0, scale=1.0, metrics={},
)
print(weights.fetch("stand-in", cache=cache))
"""


def test_two_processes_at_once_fetch_it_once(server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FETCHER, server.url("slow"), str(tmp_path), SHA256]
    both = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "NO_PROXY": "127.0.0.1"},
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [out.strip() for out, _ in said] == [str(tmp_path / "stand-in.pth")] * 2
    assert "another process is fetching it" in said[0][1] + said[1][1]
    assert server.asked == [("slow", None)]
    assert (tmp_path / "stand-in.pth").read_bytes() == FILE
    assert names(tmp_path) == {"stand-in.pth"}


# --- The command


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        status = main(["weights", *(str(argument) for argument in arguments)])
        said = capsys.readouterr()
        return status, said.out, said.err

    return call


Run = Callable[..., tuple[int, str, str]]


def test_fetch_list_verify(put: Put, run: Run, tmp_path: Path) -> None:
    put("good", restricted=True, licence="theirs: non-commercial research only")
    status, out, err = run("fetch", "stand-in", "--cache", tmp_path)
    assert status == 2
    assert out == ""
    assert "stand-in: licence: theirs: non-commercial research only" in err
    assert "--accept-licence" in err
    listed = run("list", "--cache", tmp_path)[1]
    assert ["stand-in", "-"] in [line.split()[:2] for line in listed.splitlines()]

    american = tmp_path / "american"
    assert run("fetch", "stand-in", "--cache", american, "--accept-license")[0] == 0
    status, out, err = run("fetch", "stand-in", "--cache", tmp_path, "--accept-licence")
    assert (status, out) == (0, f"stand-in: {tmp_path / 'stand-in.pth'}\n")
    assert "licence: theirs" in err
    assert run("fetch", "stand-in", "--cache", tmp_path)[::2] == (0, "")  # there already

    listed = run("list", "--cache", tmp_path)[1].splitlines()
    row = next(line for line in listed if line.startswith("stand-in"))
    assert row.split()[:2] == ["stand-in", "fetched"]
    assert row.split()[4] == "sha256"
    assert row.endswith("theirs, non-commercial")
    status, out, _ = run("verify", "--cache", tmp_path)
    assert status == 0
    assert "stand-in: good (sha256)" in out
    assert f"{weights.DEFAULT_MODEL}: good (sha256, that of its card)" in out

    (tmp_path / "stand-in.pth").write_bytes(OTHER)
    status, out, err = run("verify", "stand-in", "--cache", tmp_path)
    assert (status, out) == (1, "")
    assert err.count("\n") == 1
    assert f"expected sha256 {SHA256}" in err


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("Yes\n", 0), ("n\n", 2), ("", 2)])
def test_one_is_asked_on_a_terminal(
    put: Put, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    put("good", restricted=True)
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert run("fetch", "stand-in", "--cache", tmp_path)[0] == status
    assert (tmp_path / "stand-in.pth").exists() == (status == 0)


def test_bad_use_of_the_command(put: Put, run: Run, tmp_path: Path) -> None:
    put("gone")
    for arguments, said in (
        (["fetch", "nonsense"], "expected one of lightweight-coco17, "),
        (["list", "nonsense"], "got 'nonsense'"),
        (["fetch"], "NAME"),
        (["verify", "stand-in"], "not fetched yet; openpaf weights fetch stand-in does it"),
        (["fetch", "stand-in"], "no mirror gave the file: 127.0.0.1: answers 404"),
    ):
        status, out, err = run(*arguments, *(["--cache", tmp_path] if len(arguments) > 1 else []))
        assert (status, out) == (2, "")
        assert said in err
        assert "Traceback" not in err


def test_a_row_in_full(run: Run) -> None:
    status, out, _ = run("list", "cmu-body25")
    assert status == 0
    for word in ("non-commercial", "pose_iter_584000.caffemodel", "cmu_body25", "offset=0.0"):
        assert word in out
    assert "verified_by    sha256\n" in out


@pytest.mark.parametrize(
    ("name", "brief", "whole"),
    [
        ("cmu-body25", "sha256", "sha256"),
        ("maskrcnn-coco", "sha256:8", "the first 8 digits of its sha256; no more is published"),
        ("cmu-mpi", "md5", "md5; no sha256 is published"),
        ("lightweight-coco18", "none", "sha256 of the first download, since none is published"),
    ],
)
def test_a_row_says_which_hash_it_has(run: Run, name: str, brief: str, whole: str) -> None:
    _, out, _ = run("list")
    (row,) = (line for line in out.splitlines() if line.startswith(f"{name} "))
    assert row.split()[4] == brief
    assert f"verified_by    {whole}\n" in run("list", name)[1]
