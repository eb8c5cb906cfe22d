"""Run a module of the `fedtui` package that this file belongs to: `python -E -P module_runner.py MODULE WORDS`.

`children.command` starts child processes with it. `python -m` would search the current directory first, or take
another `fedtui` that happens to be installed. Nothing but the interpreter's own modules is imported before the
package is bound to its directory.
"""

from __future__ import annotations

import os
import runpy
import sys
from importlib.util import module_from_spec, spec_from_file_location

PACKAGE = "fedtui"


def bind_package() -> None:
    """Make `fedtui` the package in the directory of this file, whatever `sys.path` has."""
    directory = os.path.abspath(__file__)  # noqa: PTH100 - pathlib costs a child's start more than all else here
    for _level in ("file", "runtime", "core"):
        directory = os.path.dirname(directory)  # noqa: PTH120
    initialiser = os.path.join(directory, "__init__.py")  # noqa: PTH118
    spec = spec_from_file_location(PACKAGE, initialiser, submodule_search_locations=[directory])
    assert spec is not None and spec.loader is not None  # noqa: S101 - a .py file has a loader
    package = sys.modules[PACKAGE] = module_from_spec(spec)
    spec.loader.exec_module(package)


if __name__ == "__main__":
    bind_package()
    module = sys.argv[1]
    del sys.argv[0]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
