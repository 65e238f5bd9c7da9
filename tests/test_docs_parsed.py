"""Every command, flag and configuration of README, docs and cards is one that the program takes."""

from __future__ import annotations

import argparse
import configparser
import json
import re
import runpy
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from docs_blocks import PAGES, ROOT, Block, Command, blocks, commands, inline_commands

import openpaf
from openpaf.analysis.zones import read_zones
from openpaf.cli import command_parser
from openpaf.io.toml_files import read_toml
from openpaf.training import read_config
from openpaf.weights.catalog import is_name
from openpaf.weights.pairs import read_pair

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="needs a clone")

#: Programs of others. What they do with our files is tested elsewhere, or cannot be.
_OTHERS = {
    ".ci/run": "calls these tests", "build/people": "tests/test_docs_languages.py",
    "apt-get": "Debian's", "cmake": "tests/test_docs_languages.py", "curl": "tests/test_serve.py",
    "docker": "benchmarks/container.py runs the same steps", "dpkg": "Debian's",
    "export": "the shell's", "ls": "the shell's", "node": "tests/test_docs_languages.py",
    "npm": "tests/test_docs_languages.py", "pre-commit": ".ci/run validates its file",
    "rerun": "Rerun's", "source": "the shell's",
}  # fmt: skip
#: Scripts that read their arguments without argparse.
_WITHOUT_PARSER = {".ci/ship_kernels.py", "benchmarks/container.py", "benchmarks/coverage_fuzz.py"}
#: Flags in sentences that are not ours.
_FLAGS_OF_OTHERS = {
    "--nproc-per-node": "torchrun", "--force-reinstall": "pip", "--no-deps": "pip",
    "--to": "jupytext", "-c": "pip", "--onnx": "trtexec", "--array": "sbatch",
    "--cpus-per-task": "sbatch", "--head": "ray",
}  # fmt: skip
#: Folders whose modules have names such as ``parser``, which others have, too.
_FOLDERS = tuple(str(ROOT / folder) for folder in ("benchmarks", "data", "models"))
_ALL, _INLINE = commands(), inline_commands()


class _Seen(Exception):
    """The parser of a script, at the point where it would read its arguments."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def _refuse(self: argparse.ArgumentParser, message: str) -> NoReturn:
    raise ValueError(message)


def _script_parser(script: str, words: Sequence[str] | None) -> argparse.ArgumentParser:
    """The parser of a script, which reads these words unless they are None."""
    file = ROOT / script / "__main__.py" if (ROOT / script).is_dir() else ROOT / script
    assert re.search("argparse|preparation", file.read_text("utf-8"))  # or it would run
    read = argparse.ArgumentParser.parse_args

    def parse_args(self: Any, *arguments: Any, **options: Any) -> NoReturn:
        if words is not None:
            read(self, list(words))
        raise _Seen(self)

    known = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(argparse.ArgumentParser, "error", _refuse)
        patch.setattr(sys, "argv", [script, *(words or ())])
        patch.syspath_prepend(str((ROOT / script).parent))
        patch.chdir(ROOT)
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except _Seen as seen:
            return seen.parser
        finally:
            for name in set(sys.modules) - known:
                if str(getattr(sys.modules[name], "__file__", "")).startswith(_FOLDERS):
                    del sys.modules[name]
    raise AssertionError(f"{script} does not read its arguments with argparse")


def _flags(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """All flags of a parser and its verbs."""
    flags = dict(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                flags.update(_flags(verb))
    return flags


def _verb(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of ``predict``, or of ``weights list``."""
    parser = command_parser()
    for word in words:
        verbs = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
        if not verbs or word.startswith("-"):
            break
        assert word in verbs[0].choices, f"no verb {word!r}"
        parser = verbs[0].choices[word]
    return parser


def _of(program: str) -> list[Command]:
    return [command for command in _ALL if command.program == program]


def _check(words: Sequence[str]) -> None:
    """The program takes the words, and knows the models that they name."""
    arguments = command_parser().parse_args(words)
    assert arguments.verb == words[0]
    for name in ("model", "models", "start"):
        values = getattr(arguments, name, None)
        for value in values if isinstance(values, list) else [values]:
            if isinstance(value, str) and not re.search(r"[./A-Z]", value):
                assert is_name(value), f"no model {value!r}"


@pytest.mark.parametrize("command", _of("openpaf"), ids=str)
def test_openpaf_takes_the_command(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argparse.ArgumentParser, "error", _refuse)
    _check(command.words)


def _examples() -> list[str]:
    """The lines ``openpaf ...`` of the help of all verbs, some with what they do beside them."""
    texts, parsers = [], [command_parser()]
    while parsers:
        parser = parsers.pop()
        texts.append(re.sub(r"\s*\\\n\s*", " ", parser.epilog or ""))
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
    lines = re.findall(r"^ +(?:RUN )?openpaf (.+)$", "\n".join(texts), flags=re.M)
    return sorted({re.split(r"\s{2,}|\s#|\s>", line.strip())[0] for line in lines})


@pytest.mark.parametrize("line", _examples())
def test_openpaf_takes_the_examples_of_its_help(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(argparse.ArgumentParser, "error", _refuse)
    words = shlex.split(line)
    if "--help" not in words:
        _check(words)


@pytest.mark.parametrize("command", _of("python") + _of("python3"), ids=str)
def test_the_script_takes_the_command(command: Command) -> None:
    script, *words = command.words
    if script == "-m":
        assert words == ["venv", ".venv"]
    else:
        _script_parser(script, words)


@pytest.mark.parametrize("command", _INLINE, ids=str)
def test_flags_of_a_command_in_a_sentence_exist(command: Command) -> None:
    if command.program == "openpaf":
        flags = _flags(_verb(command.words))
    elif command.words[0] in _WITHOUT_PARSER:
        return
    else:
        flags = _flags(_script_parser(command.words[0], None))
    for flag, value in zip(command.words, [*command.words[1:], ""], strict=True):
        if flag.startswith("-"):
            assert flag in flags
            choices = flags[flag].choices
            is_open = not value or value.isupper() or value.startswith("-")
            assert is_open or not choices or value in choices


@pytest.mark.parametrize("page", PAGES)
def test_flags_that_a_page_names_exist(page: str) -> None:
    """Alone in a sentence or a table, such as ``--skip-existing``: flags of any verb or script."""
    known = set(_flags(command_parser())) | set(_FLAGS_OF_OTHERS)
    scripts = [*ROOT.glob("benchmarks/*.py"), ROOT / ".ci" / "run"]
    for script in [*scripts, *ROOT.glob("models/recipes/*.py")]:
        known |= set(re.findall(r"(--[a-z][\w-]*)", script.read_text(encoding="utf-8")))
    text = re.sub(r"^ *```.*?^ *```", "", (ROOT / page).read_text("utf-8"), flags=re.M | re.S)
    named = {
        flag
        for code in re.findall(r"`([^`]*)`", text)
        for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", code)
    }
    assert not named - known


@pytest.mark.parametrize("command", _of("pip"), ids=str)
def test_pip_installs_extras_that_exist(command: Command) -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    for word in command.words:
        for extra in re.findall(r"^\.\[([\w,-]+)\]$", word):
            assert set(extra.split(",")) <= set(setup["options.extras_require"])
    if "-c" in command.words:
        assert (ROOT / command.words[command.words.index("-c") + 1]).exists()


def test_each_program_is_known() -> None:
    known = {"openpaf", "python", "python3", "pip", "pytest", "mkdocs", *_OTHERS}
    assert not [str(command) for command in _ALL if command.program not in known]
    for command in _of("pytest"):
        assert all((ROOT / word).exists() for word in command.words)


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_a_toml_block_is_read(block: Block, tmp_path: Path) -> None:
    """As a skeleton, or as a training configuration, whose output and sets a part may lack."""
    path = tmp_path / "block.toml"
    path.write_text(block.text)
    values, text = read_toml(path), block.text
    if "joints" in values:
        assert openpaf.read_skeleton(path).n_joints == len(values["joints"])
        return
    if "output" not in values:
        text = f'output = "run"\n{text}'
    if "data" not in values:
        text += '\n[[data.sets]]\nannotations = "a.json"\nimages = "photos"\n'
    index = tmp_path / "data" / "index" / "index.toml"
    index.parent.mkdir(parents=True)
    index.write_text('[[sets]]\nannotations = "a.json"\nimages = "photos"\n')
    path.write_text(text)
    assert len(read_config(path).data.sets) == 1


@pytest.mark.parametrize("block", blocks("json"), ids=str)
def test_a_json_block_is_read(block: Block, tmp_path: Path) -> None:
    """As a pair of networks, or as zones."""
    path = tmp_path / "block.json"
    path.write_text(block.text)
    if "detectors" in json.loads(block.text):
        assert read_pair(path).pose
    else:
        assert read_zones(path)


def test_blocks_are_of_known_languages() -> None:
    """Those without are commands; ``text`` is what a command prints; ``swift`` needs macOS."""
    known = {"", "text", "python", "toml", "json", "swift"}
    assert not [str(block) for block in blocks() if block.language not in known]


@pytest.mark.parametrize("page", PAGES)
def test_variables_of_the_environment_exist(page: str) -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("openpaf", "tests")
        for path in ROOT.glob(f"{folder}/**/*.py")
    )
    named = set(re.findall(r"\bOPENPAF_[A-Z]+\b", (ROOT / page).read_text(encoding="utf-8")))
    assert not [name for name in named if name not in code]
