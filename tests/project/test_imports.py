"""The architecture, read from the imports: one direction, Hydra in one place, no torch where nothing is computed."""

import ast
import functools
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from nngeom_cli.config.sections import SECTIONS, known_keys

PACKAGE = Path(__file__).parents[2] / "nngeom_cli"

# Lowest first, the packages and the few modules beside them. Each imports from lines above its own, and from nothing
# on its own line; geometry is the library and stands on nothing but the names of what packages add.
LEVELS = [
    {"plugins"},
    {"quoting", "groups", "geometry"},
    {"synonyms"},
    {"errors"},
    {"system"},
    {"config"},
    {"tables", "theory", "models", "kernels"},
    {"tasks"},
    {"training"},
    {"probes", "store"},
    {"analysis"},
    {"figures", "trackers"},
    {"experiments", "pages", "runs"},
    {"launch", "reproduction", "recorder"},
    {"cli"},
    {"__main__"},
]
OF_LAUNCH = (
    "application",
    "calling",
    "checks",
    "composing",
    "harmless",
    "hydra_errors",
    "job",
    "launchers",
    "lost_jobs",
    "package_configs",
    "search",
)
HYDRA = {f"launch/{name}.py" for name in OF_LAUNCH}  # the files that import it


def modules():
    return {path: path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path):
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            yield node.module or ""


def level(part):
    return next(number for number, parts in enumerate(LEVELS) if part in parts)


@pytest.mark.parametrize("path", [path for path, part in modules().items() if part != "__init__"], ids=lambda p: p.stem)
def test_imports_point_one_way(path):
    part = modules()[path]
    for name in imports(path):
        if name.startswith("nngeom_cli."):
            imported = name.split(".")[1]
            assert imported == part or level(imported) < level(part), f"{part} imports {imported}"
            assert part != "geometry" or imported in ("geometry", "plugins"), f"geometry imports {imported}"


def module_files():
    """The files of the package, by their names in imports."""
    return {
        ".".join(("nngeom_cli", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in modules()
        if path != PACKAGE / "__init__.py"  # it hands out what others define
    }


def test_no_modules_import_each_other_in_a_circle():
    """Not within a package either, and not in functions."""
    files = module_files()
    edges = {name: set() for name in files}
    for name, path in files.items():
        for node in ast.walk(ast.parse(path.read_bytes())):
            for alias in node.names if isinstance(node, ast.ImportFrom) else []:
                inner = f"{node.module}.{alias.name}"
                edges[name] |= {inner if inner in files else node.module} & files.keys()
    tuple(TopologicalSorter(edges).static_order())  # raises CycleError


def public(path):
    """What a file says that others may take from it."""
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return ()


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.stem)
def test_what_a_module_takes_from_another_is_in_its_all(path):
    """Private names, which no `__all__` has, stay at home with it."""
    files, taken, bound = module_files(), set(), {}
    nodes = list(ast.walk(ast.parse(path.read_bytes())))
    for node in nodes:
        for alias in node.names if isinstance(node, ast.ImportFrom) and node.module in files else []:
            inner = f"{node.module}.{alias.name}"
            if inner in files:
                bound[alias.asname or alias.name] = inner
            else:
                taken.add((node.module, alias.name))
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
            taken.add((bound[node.value.id], node.attr))
    assert [f"{module}.{name}" for module, name in sorted(taken) if name not in public(files[module])] == []


def test_the_page_on_architecture_shows_the_packages_as_they_are():
    command = [sys.executable, PACKAGE.parent / "docs" / "packages.py"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"```\n{shown}```" in (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", modules(), ids=lambda p: p.stem)
def test_only_the_package_launch_imports_hydra(path):
    if path.relative_to(PACKAGE).as_posix() not in HYDRA:
        assert not any(name.split(".")[0] == "hydra" for name in imports(path))


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("nngeom_cli.cli.entry", ["torch", "hydra", "omegaconf", "matplotlib", "xarray", "pandas", "sklearn"]),
        ("nngeom_cli.launch.application", ["torch", "matplotlib", "sklearn", "scipy"]),
        ("nngeom_cli.analysis.summary", ["torch", "hydra", "matplotlib", "xarray", "pandas", "scipy"]),
        ("nngeom_cli.config.loader", ["torch", "hydra", "matplotlib"]),
        ("nngeom_cli.figures", ["torch", "hydra", "sklearn", "matplotlib.pyplot"]),
        ("nngeom_cli.pages.watch", ["torch", "hydra", "sklearn", "matplotlib.pyplot", "plotly"]),
        ("nngeom_cli.store.run", ["torch", "hydra", "matplotlib"]),
        ("nngeom_cli.runs.run", ["hydra", "matplotlib", "sklearn", "scipy"]),
        ("nngeom_cli.kernels", ["hydra", "omegaconf", "matplotlib", "xarray", "pandas", "sklearn", "scipy"]),
        ("nngeom_cli.geometry", ["hydra", "omegaconf", "matplotlib", "xarray", "pandas", "sklearn", "scipy"]),
    ],
)
def test_module_does_not_import(module, absent):
    code = f"import sys, {module}; print(*[name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def config_keys():
    return sorted({*SECTIONS, *(known.field.name for known in known_keys())})


@functools.cache
def read():
    """The attributes that are used where a config is more than checked, and the keys of saved runs' configs."""
    paths = [path for path, part in modules().items() if part != "config" or path.name in ("task.py", "footprint.py")]
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_bytes()))]
    attributes = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    expressions = {ast.unparse(node) for node in nodes if isinstance(node, ast.Subscript | ast.Call)}
    return attributes, expressions


@pytest.mark.parametrize("key", config_keys())
def test_config_key_is_read_beyond_its_check(key):
    attributes, expressions = read()
    assert key in attributes or {f"run.config['{key}']", f"run.config.get('{key}', {{}})"} & expressions
