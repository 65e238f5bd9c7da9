"""The steps of the Dockerfile without Docker: in a fresh folder, as the files of the repository.

    python benchmarks/container.py

Copies the tracked files, runs the steps that follow `USER`, starts the command on a free port, and
asks it for the people of a photo. `python` is the interpreter that runs this script.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from serving import ROOT, Server


def steps(dockerfile: str) -> tuple[list[str], list[str]]:
    """The commands that build an image after `USER`, and the one that it runs."""
    after = dockerfile.partition("\nUSER ")[2]
    (command,) = re.findall(r"^CMD (\[.*\])$", after, flags=re.M)
    return re.findall(r"^RUN (.+)$", after, flags=re.M), json.loads(command)


def main() -> int:
    """Run the steps; the exit status."""
    build, command = steps((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder_name:
        folder, programs = Path(folder_name) / "openpaf", Path(folder_name) / "bin"
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
        )
        for name in listed.stdout.decode().split("\0")[:-1]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
        programs.mkdir()
        (programs / "python").symlink_to(os.path.realpath(sys.executable))
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        }
        environment["PATH"] = f"{programs}:{environment['PATH']}"
        environment["OPENPAF_CACHE"] = str(Path(folder_name) / "cache")
        for step in build:
            print(f"RUN {step}", flush=True)
            subprocess.run(["sh", "-c", step], cwd=folder, env=environment, check=True)
        os.environ.clear()
        os.environ.update(environment)
        print("CMD", *command, flush=True)
        server = Server([*command, "--host", "127.0.0.1", "--port", "0"], folder)
        photo = (folder / "data/photos/astronaut.jpg").read_bytes()
        status, answer = server.ask("POST", "/predict", photo)
        n_people = len(json.loads(answer)["people"])
        print(server.ask("GET", "/health")[1].decode())
        print(f"/predict: {status}, {n_people} person; exit status {server.stop()}")
        return 0 if status == 200 and n_people == 1 and server.process.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
