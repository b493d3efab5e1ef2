"""Finds plug-ins by name without importing any: the files of `exporters/` and `runtimes/`, and entry points."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import inspect
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from harness import api, installed
from harness.errors import BackbenchError, MissingLibrary, PlanInvalid, PluginConflict, UnknownName, did_you_mean

Kind = Literal["exporters", "runtimes"]
BUILT_IN = "built-in"
"""`Plugin.origin` of what is in the folders `exporters/` and `runtimes/`."""
_BASES: Mapping[Kind, type] = {"exporters": api.Exporter, "runtimes": api.Runtime}


@dataclass(frozen=True)
class Plugin:
    """A plug-in that was found: its name, where it comes from, and how to load its class."""

    name: str
    kind: Kind
    origin: str
    """`built-in`, or the distribution whose entry point it is."""
    load: Callable[[], type]


@functools.cache
def found(kind: Kind) -> Mapping[str, Plugin]:
    """All plug-ins of a kind by name, sorted; none is imported. Raises `PluginConflict` where a name is taken twice."""
    plugins: dict[str, Plugin] = {}
    for plugin in (*_built_in(kind), *_entry_points(kind)):
        if (other := plugins.get(plugin.name)) is not None:
            raise PluginConflict(
                f"two plug-ins of {kind} are called {plugin.name!r}: one is {other.origin}, one is {plugin.origin}",
                "uninstall one of them, or rename the entry point",
            )
        plugins[plugin.name] = plugin
    return dict(sorted(plugins.items()))


def _built_in(kind: Kind) -> list[Plugin]:
    spec = importlib.util.find_spec(kind)
    paths = list(spec.submodule_search_locations or []) if spec else []
    names = [module.name for module in pkgutil.iter_modules(paths) if not module.name.startswith("_")]
    return [Plugin(name, kind, BUILT_IN, functools.partial(_only_class, kind, f"{kind}.{name}")) for name in names]


def _entry_points(kind: Kind) -> list[Plugin]:
    points = importlib.metadata.entry_points(group=f"backbench.{kind}")
    return [Plugin(p.name, kind, p.dist.name if p.dist else p.value, p.load) for p in points]


def _only_class(kind: Kind, module_name: str) -> type:
    module = importlib.import_module(module_name)
    base = _BASES[kind]
    classes = [
        item
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, base)
        and item.__module__ == module_name
        and not inspect.isabstract(item)
    ]
    if len(classes) != 1:
        raise PluginConflict(
            f"{module_name} must define exactly one {base.__name__}, and defines {len(classes)}",
            "put shared code into a module whose name starts with an underscore",
        )
    return classes[0]


def plugin(kind: Kind, name: str) -> Plugin:
    """The plug-in of that name. Raises `UnknownName` with the nearest names."""
    plugins = found(kind)
    if name not in plugins:
        raise UnknownName(f"unknown {kind[:-1]} {name!r}", did_you_mean(name, plugins, f"see: backbench list {kind}"))
    return plugins[name]


def check_options(name: str, of: type[api.Exporter | api.Runtime], given: Mapping[str, Any]) -> None:
    """Raise `PlanInvalid` for an option that the plug-in `name`, of the class `of`, does not know, or a value that it does
    not take. An option that says how full a cache is has words for it beside true and false."""
    known, filled = of.options, of.filled if issubclass(of, api.Runtime) else ()
    for option, value in given.items():
        if option not in known:
            hint = did_you_mean(option, known, f"it knows: {', '.join(known) or 'none'}")
            raise PlanInvalid(f"{name} has no option {option!r}", hint)
        takes = _unlike(known[option], value)
        if takes and not (option in filled and isinstance(value, str)):
            raise PlanInvalid(
                f"{name}.{option} takes {takes}, not {value!r}", f"its default is {json.dumps(known[option])}"
            )
        words = of.words.get(option)
        several = isinstance(known[option], (list, tuple))
        for word in _listed(value) if several else (value,):
            if words and word not in words:
                hint = did_you_mean(str(word), words, f"its default is {json.dumps(known[option])}")
                raise PlanInvalid(
                    f"{name}.{option} is {'of' if several else 'one of'} {', '.join(words)}, not {word!r}", hint
                )


def _listed(value: object) -> Sequence[object]:
    """The words of a list; a text is a list with commas."""
    return value if isinstance(value, (list, tuple)) else [word.strip() for word in str(value).split(",")]


def check_runtime_options(name: str, given: Mapping[str, Any]) -> None:
    """The same of a runtime by its name."""
    check_options(name, runtime_class(name), given)


def _unlike(default: object, value: object) -> str:
    """What an option with that default takes, where the value is none."""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if isinstance(default, int):
        return "" if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if isinstance(default, float):
        return "" if isinstance(value, (int, float)) and not isinstance(value, bool) else "a number"
    if isinstance(default, (list, tuple)):
        alone = not default and isinstance(value, str)  # a single name is a list of one; of numbers there is none
        return "" if alone or isinstance(value, (list, tuple)) else "a list"
    return "a word" if isinstance(default, str) and isinstance(value, (list, tuple, Mapping)) else ""


def runtime_class(name: str) -> type[api.Runtime]:
    """The class of a runtime; only its module is imported, none of the libraries it needs."""
    return cast("type[api.Runtime]", plugin("runtimes", name).load())


def process_sd(runtime: str) -> float:
    """`Runtime.process_sd` of a runtime by name; of one that is not here (a record of elsewhere), what most have."""
    return runtime_class(runtime).process_sd if runtime in found("runtimes") else api.Runtime.process_sd


def exporter_class(name: str) -> type[api.Exporter]:
    """The class of an exporter; only its module is imported, none of the libraries it needs."""
    return cast("type[api.Exporter]", plugin("exporters", name).load())


def exporter_classes() -> Mapping[str, type[api.Exporter]]:
    """All exporters by name."""
    return {name: exporter_class(name) for name in found("exporters")}


def missing(needs: Mapping[str, str]) -> tuple[str, ...]:
    """The requirements among `needs` whose import name is not installed; nothing is imported."""
    return tuple(requirement for module, requirement in needs.items() if not installed.has(module))


def install_line(requirements: tuple[str, ...]) -> str:
    """The command that installs `requirements`."""
    return "pip install " + " ".join(f"'{r}'" if any(c in r for c in "<>=[! ") else r for r in requirements)


def check_installed(name: str, needs: Mapping[str, str]) -> None:
    """Raise `MissingLibrary`, with the line that installs it, where a plug-in's library is not there."""
    if lacking := missing(needs):
        raise MissingLibrary(f"{name} needs {', '.join(lacking)}, which is not installed", install_line(lacking))


def explain(error: Exception) -> str:
    """One line for a list: why a plug-in cannot be used."""
    return error.message if isinstance(error, BackbenchError) else f"{type(error).__name__}: {error}"
