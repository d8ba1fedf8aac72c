"""Where a zygote starts: `python .../zygote/__main__.py FOLDER MODE`, see start."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

NAME = "flyte_kernel_zygote"


def make_package() -> None:
    """Make the package of this folder importable under a name that hides nothing of the user's."""
    folder = Path(__file__).parent
    spec = importlib.util.spec_from_file_location(
        NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules[NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])


if __name__ == "__main__":
    # This folder came first on the path and must not hide anything of the user's.
    sys.path[:] = [entry for entry in sys.path if entry != str(Path(__file__).parent)]
    make_package()
    importlib.import_module(f"{NAME}.start").main()
