"""What a newcomer has to take in at once is limited: files to a folder, lines to a file."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST_FILES, MOST_LINES = 20, 300


def folders_above(files: list[str]) -> dict[str, int]:
    """Returns the folders with more than 20 Python files, each with its number."""
    counts = Counter(str(Path(file).parent) for file in files)
    return {folder: count for folder, count in counts.items() if count > MOST_FILES}


def files_above(files: list[str], root: Path = ROOT) -> dict[str, int]:
    """Returns the files of more than 300 lines, each with its number."""
    lines = {file: (root / file).read_bytes().count(b"\n") for file in files}
    return {file: count for file, count in lines.items() if count > MOST_LINES}


@pytest.fixture(scope="module")
def files() -> list[str]:
    """Python under version control: packages, tests, bench."""
    done = subprocess.run(["git", "ls-files", "-z", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    found = [file for file in done.stdout.split("\0") if (ROOT / file).is_file()]
    if not found:
        pytest.skip("no git here: a source archive")
    return found


def test_no_folder_holds_over_20_files(files: list[str]) -> None:
    above = folders_above(files)
    assert above == {}, f"at most {MOST_FILES} Python files a folder, make one of each part: {above}"


def test_no_file_has_over_300_lines(files: list[str]) -> None:
    above = files_above(files)
    assert above == {}, f"at most {MOST_LINES} lines a file, split it by noun: {above}"


def test_an_offender_is_named(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("\n" * (MOST_LINES + 1))
    (tmp_path / "fits.py").write_text("\n" * MOST_LINES)
    assert files_above(["long.py", "fits.py"], tmp_path) == {"long.py": MOST_LINES + 1}
    assert folders_above([f"full/{n}.py" for n in range(MOST_FILES + 1)] + ["fits/a.py"]) == {"full": MOST_FILES + 1}
