"""The house has no circles: whoever reads a module can read what it imports first."""

from __future__ import annotations

from graphlib import TopologicalSorter

import grimp


def test_no_module_imports_itself_by_way_of_others() -> None:
    """The modules of the package can be put in an order in which each stands after those that it imports."""
    graph = grimp.build_graph("fedtui")
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(tuple(TopologicalSorter(imports).static_order())) >= len(graph.modules)
