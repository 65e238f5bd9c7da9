"""Completion of the shell: the script of each shell, in the shell itself, at a terminal."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openpaf.cli import main

_CASES = (
    ("openpaf pred", "openpaf predict"),
    ("openpaf webcam --model topdown-f", "openpaf webcam --model topdown-fast"),
    ("openpaf webcam --mirr", "openpaf webcam --mirror"),
)
# What a shell says when it is ready; the echo of what it is told has no such text.
_READY = "ready 42"
# Runs a command for which its input is its controlling terminal, without which tcsh edits no lines.
_TAKE_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    "os.execvp(sys.argv[1], sys.argv[1:])"
)
_SHELLS = {
    "zsh": (
        ["-f", "-i"],
        "bindkey -e; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; "
        "print ready $((6 * 7))\n",
    ),
    "tcsh": (
        ["-f"],
        "bindkey -e; unset autologout; source {folder}/_openpaf; @ n = 6 * 7; echo ready $n\n",
    ),
}


@pytest.fixture
def script(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The script of the shell that the test names, in a folder of its own."""
    pytest.importorskip("shtab", reason="shtab is not installed")
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    command = [sys.executable, "-m", "openpaf", "completion", request.param]
    path = tmp_path / "_openpaf"
    path.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    return path


@pytest.mark.parametrize("script", ["bash"], indirect=True)
def test_bash_completes_verbs_models_and_flags(script: Path) -> None:
    for words, completed in _CASES:
        n_words = len(words.split())
        code = (
            f"source {script}; COMP_WORDS=({words}); COMP_CWORD={n_words - 1}; "
            "_shtab_openpaf; echo ${COMPREPLY[@]}"
        )
        done = subprocess.run(["bash", "-c", code], capture_output=True, text=True)
        assert done.stdout.split() == completed.split()[-1:], done.stderr


@pytest.mark.skipif(os.name != "posix", reason="needs a terminal")
@pytest.mark.parametrize(("shell", "script"), [(s, s) for s in _SHELLS], indirect=["script"])
def test_other_shells_complete_verbs_models_and_flags(shell: str, script: Path) -> None:
    options, setup = _SHELLS[shell]
    with _terminal([shell, *options], script.parent) as terminal:
        os.write(terminal, setup.format(folder=script.parent).encode())
        assert _READY in _read_until(terminal, _READY)
        for words, completed in _CASES:
            # Tab, to the beginning of the line, and there a command that prints the line.
            os.write(terminal, f"{words}\t\x01echo '<' \x05 '>'\n".encode())
            shown = _read_until(terminal, f"< {completed} >")
            assert f"< {completed} >" in shown


@contextlib.contextmanager
def _terminal(command: list[str], home: Path):  # type: ignore[no-untyped-def]
    """A shell with a terminal, whose other end is yielded; it is ended afterwards."""
    import pty

    master, slave = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "vt100", "LC_ALL": "C"}
    process = subprocess.Popen(
        [sys.executable, "-c", _TAKE_TERMINAL, *command],
        stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    try:
        yield master
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _read_until(terminal: int, text: str, limit_s: float = 20.0) -> str:
    """What the terminal shows until a text is in it, or nothing more comes."""
    shown, start = "", time.monotonic()
    while text not in shown and time.monotonic() - start < limit_s:
        if select.select([terminal], [], [], 0.5)[0]:
            try:
                shown += os.read(terminal, 65536).decode(errors="replace")
            except OSError:  # the shell has ended
                break
    return shown


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "fish"]) == 2
    assert "invalid choice: 'fish'" in capsys.readouterr().err
