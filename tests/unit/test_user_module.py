"""A module is imported for many attempts only if none of them could tell, and then it is at home in each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flyte_kernel.executors.zygotes import PROGRAM

_PROBE = """
import json, os, runpy, sys
from pathlib import Path

runpy.run_path(sys.argv[1])["make_package"]()
from flyte_kernel_zygote import code_copies, user_module

code, folder = sys.argv[2], Path(sys.argv[3])
code_copies.copy_folder(code, str(folder / "work"))
os.environ.update(TMPDIR=str(folder / "tmp"), PYTHONPATH=str(folder / "work"), SHARED="yes")
path, known = list(sys.path), set(sys.modules)
against = user_module.import_module("flows", code, folder, {"OWN"})
assert sys.path == path
names = user_module.modules_below(str(folder / "work"))
code_copies.copy_folder(code, str(folder / "elsewhere"))
os.chdir(folder / "elsewhere")
sys.path.insert(0, str(folder / "elsewhere"))  # as the interpreter of an attempt has it
user_module.move_modules(names, str(folder / "work"), str(folder / "elsewhere"))
told = {}
for name in sorted(names):
    module = sys.modules[name]
    places = sorted(set(getattr(module, "__path__", [])))
    told[name] = [getattr(module, "__file__", None), module.__spec__.origin, places]
print(json.dumps([against, told, getattr(sys.modules.get("flows"), "TOLD", None)]))
"""


def imported(tmp_path: Path, sources: dict[str, str], probe: str = _PROBE) -> tuple[str, dict[str, object], object]:
    """Import flows.py; return what speaks against it, where its modules say that they are, and what it tells."""
    code, folder = tmp_path / "code", tmp_path / "zygote"
    (folder / "tmp").mkdir(parents=True)
    for name, source in sources.items():
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text(source)
    done = subprocess.run(
        [sys.executable, "-B", "-c", probe, PROGRAM, str(code), str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    against, told, value = json.loads(done.stdout.splitlines()[-1])
    return against, told, value


def test_an_innocent_module_is_imported_and_moved(tmp_path: Path) -> None:
    sources = {
        "flows.py": "import os\nimport helpers.deep\nimport spaces.inner\n"
        "TOLD = [helpers.VALUE, os.environ['SHARED'], os.environ.get('ABSENT')]\n",
        "helpers/__init__.py": "VALUE = 3\n",
        "helpers/deep.py": "from pathlib import Path\nNAME = Path(__file__).name\n",
        "spaces/inner.py": "",
        "unused.py": "",
    }
    against, told, value = imported(tmp_path, sources)
    assert (against, value) == ("", [3, "yes", None])
    new = f"{tmp_path}/zygote/elsewhere"
    assert told == {
        "flows": [f"{new}/flows.py", f"{new}/flows.py", []],
        "helpers": [f"{new}/helpers/__init__.py", f"{new}/helpers/__init__.py", [f"{new}/helpers"]],
        "helpers.deep": [f"{new}/helpers/deep.py", f"{new}/helpers/deep.py", []],
        "spaces": [None, None, [f"{new}/spaces"]],
        "spaces.inner": [f"{new}/spaces/inner.py", f"{new}/spaces/inner.py", []],
    }


GUILTY = {
    "fails": ("raise ValueError('not today')", "it cannot be imported: ValueError: not today"),
    "ends": ("import sys; sys.exit(3)", "it cannot be imported: SystemExit"),
    "own variable": ("import os; A = os.environ.get('OWN')", "it reads the variable OWN"),
    "own variable by getenv": ("import os; A = os.getenv('OWN', '')", "it reads the variable OWN"),
    "is it there": ("import os; A = 'OWN' in os.environ", "it reads the variable OWN"),
    "all variables": ("import os; A = dict(os.environ)", "it reads all variables"),
    "sets a variable": ("import os; os.environ['NEW'] = '1'", "it changed the environment"),
    "prints": ("print('hello')", "it printed something"),
    "a program prints": ("import os; os.write(2, b'hello')", "it printed something"),
    "opens a file": ("FILE = open(__file__)", "it changed open files"),
    "opens a socket": ("import socket; S = socket.socket()", "it changed open files"),
    "goes elsewhere": ("import os; os.chdir('/')", "it changed the working directory"),
    "handles signals": ("import signal; signal.signal(15, lambda *_: None)", "it changed the handling of signals"),
    "registers": ("import atexit; atexit.register(len, '')", "it changed what is done at exit"),
    "extends the path": ("import sys; sys.path.append('/somewhere')", "it changed the path"),
    "hooks": ("import sys; sys.excepthook = print", "it changed hooks"),
    "seeds": ("import random; random.seed(1)", "it changed random numbers"),
    "random numbers": ("import random; A = random.random()", "it changed random numbers"),
    "its own random numbers": ("import random; R = random.Random()", "it makes random numbers"),
    "uuid": ("import uuid; RUN = uuid.uuid4()", "it makes random numbers"),
    "secrets": ("import secrets; A = secrets.token_hex()", "it makes random numbers"),
    "writes beside": ("open('note.txt', 'w').close()", "it wrote beside its modules"),
    "temporary files": (
        "import os; open(os.path.join(os.environ['TMPDIR'], 'x'), 'w').close()",
        "it left files in the folder for temporary ones",
    ),
    "a process": ("import subprocess as s; P = s.Popen(['sleep', '9'])", "it started processes"),
    "keeps its place": ("from pathlib import Path; HERE = Path(__file__).parent", "flows.HERE holds a path"),
    "keeps its place as text": ("import os; ROOT = os.getcwd()", "flows.ROOT holds a path"),
    "no garbage collection": ("import gc; gc.disable()", "it changed the garbage collector"),
}


@pytest.mark.parametrize(("source", "words"), GUILTY.values(), ids=GUILTY.keys())
def test_what_attempts_would_notice_speaks_against_it(tmp_path: Path, source: str, words: str) -> None:
    against, _, _ = imported(tmp_path, {"flows.py": f"{source}\n"})
    assert words in against


def test_a_module_that_is_loaded_when_it_is_looked_at_is_not(tmp_path: Path) -> None:
    """The SDK has such modules for pandas and others; loading them makes it load more."""
    lazy = (
        "import importlib.util, sys\n"
        "spec = importlib.util.find_spec('wave')\n"
        "spec.loader = importlib.util.LazyLoader(spec.loader)\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "sys.modules['wave'] = module\n"
        "spec.loader.exec_module(module)\n"
        "TOLD = None\n"
    )
    probe = _PROBE.replace(
        "print(json.dumps([",
        "told['lazy'] = 'open' not in object.__getattribute__(sys.modules['wave'], '__dict__')\nprint(json.dumps([",
    )
    against, told, _ = imported(tmp_path, {"flows.py": lazy}, probe)
    assert (against, told["lazy"]) == ("", True)
