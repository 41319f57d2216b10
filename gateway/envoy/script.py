"""The Lua filter as one text: the modules under `lua/`, each in its own function, and the tables they read."""

from pathlib import Path
from typing import Any, Final

from gateway.envoy.schema import to_lua

_FOLDER: Final = Path(__file__).parent / "lua"
_MAIN: Final = "main"


def bundle(tables: dict[str, Any]) -> str:
    """The source that Envoy loads. `require` finds the modules, and the tables under the name "tables"."""
    modules = {path.stem: path.read_text() for path in sorted(_FOLDER.glob("*.lua"))}
    main = modules.pop(_MAIN)
    preloads = {"tables": f"return {to_lua(tables)}\n", **modules}
    parts = [f'package.preload["{name}"] = function()\n{source}end\n' for name, source in preloads.items()]
    return "\n".join((*parts, main))
