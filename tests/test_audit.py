"""The check of dependencies in CI: bad news fails it, and no news is not taken for good news."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).parent.parent / ".ci" / "audit"
TOOL = """#!{python}
import json, sys
names = [line.split("==") for line in open(sys.argv[sys.argv.index("--requirement") + 1]).read().split()]
bad = {bad!r}
print(json.dumps({{"dependencies": [
    {{"name": name, "version": version,
      "vulns": [{{"id": "CVE-1", "fix_versions": ["9"]}}] if name in bad else []}} for name, version in names]}}))
"""


@pytest.mark.parametrize(
    ("bad", "code", "said"),
    [
        (None, 0, "NOT CHECKED"),
        ([], 0, "NOT CHECKED"),
        (["jinja2"], 0, "2 dependencies checked"),
        (["jinja2", "pydantic"], 1, "pydantic 2: CVE-1 (mended in 9)"),
    ],
    ids=["no tool", "no source", "nothing", "something"],
)
def test_bad_news_and_no_news(tmp_path: Path, bad: list[str] | None, code: int, said: str) -> None:
    """Without a source that knows of a bad release nothing was checked, and it says so; a bad dependency fails."""
    tool, python = tmp_path / "pip-audit", tmp_path / "python"
    if bad is not None:
        tool.write_text(TOOL.format(python=sys.executable, bad=bad))
        tool.chmod(0o755)
    python.write_text("#!/bin/sh\necho aiohttp==1\necho pydantic==2\necho fedtui==0\n")
    python.chmod(0o755)
    ran = subprocess.run(
        [sys.executable, str(AUDIT), str(tool), str(python)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (code, "")
    assert said in ran.stdout
