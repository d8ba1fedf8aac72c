"""Does the local executor keep the promises of the Executor port, with real processes and real flytekit tasks?"""

from __future__ import annotations

import os
import signal
import textwrap
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest

from flyte_kernel.engine.ports import AttemptReport, ReportKind
from flyte_kernel.errors import AdapterError
from flyte_kernel.executors import LocalExecutor
from flyte_kernel.executors.zygote.processes import start_time
from tests.support.attempts import (
    INTERPRETER,
    Reports,
    TaskFiles,
    as_element,
    fast,
    files,
    launch_of,
    python_of,
    tarball,
    wait_until,
)

WORKFLOWS = textwrap.dedent(
    """
    import os
    import pathlib
    import random
    import signal
    import sys

    from flytekit import current_context, task
    from flytekit.exceptions.user import FlyteRecoverableException

    SEEN_AT_IMPORT = os.environ.get("FLYTE_INTERNAL_EXECUTION_ID", "")

    @task
    def add(a: int, b: int) -> int:
        return a + b

    @task
    def fail(a: int) -> int:
        raise ValueError(f"no luck with {a}")

    @task
    def fail_for_now(a: int) -> int:
        raise FlyteRecoverableException("later perhaps")

    @task
    def vanish(a: int) -> int:
        print("about to vanish")
        os._exit(a)

    @task
    def crash(a: int) -> int:
        print("about to crash")
        os.kill(os.getpid(), signal.SIGSEGV)
        return a

    @task
    def surroundings() -> str:
        folder = current_context().working_directory
        return "|".join([os.getcwd(), os.environ["HOME"], os.environ["TMPDIR"], SEEN_AT_IMPORT, folder, __file__])

    @task
    def dice() -> int:
        return random.getrandbits(60)

    @task
    def litter() -> str:
        beside = pathlib.Path(__file__).with_name("count.txt")
        text = beside.read_text() + "x"
        beside.write_text(text)
        pathlib.Path("data/table.csv").write_text("spoilt")
        return text + pathlib.Path("data/other.csv").read_text()
    """
)
CODE = {"flows.py": WORKFLOWS, "count.txt": "", "data/table.csv": "a,b", "data/other.csv": "c,d"}
URI = "s3://bucket/code/fast1.tar.gz"


class Bench:
    """An executor with its reports; `blobs` is what it can fetch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = {URI: tarball(CODE)}
        self.reports = Reports()
        self.executors: list[LocalExecutor] = []
        self.tasks = 0

    def start(self, concurrency: int = 4, report: Callable[[AttemptReport], None] | None = None) -> LocalExecutor:
        """Return a running executor."""
        executor = LocalExecutor(
            self.folder,
            python=INTERPRETER,
            fetch=files(self.blobs),
            concurrency=concurrency,
            environment={"GIVEN_TO_ALL": "yes"},
            grace_s=0.2,
        )
        executor.start(report or self.reports)
        self.executors.append(executor)
        return executor

    def task_files(self) -> TaskFiles:
        """Return a fresh place for a task's inputs and outputs."""
        self.tasks += 1
        return TaskFiles(self.folder / "io" / str(self.tasks))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One executor for the tests that do not depend on its limits: its warm processes stay warm."""
    bench = Bench(tmp_path_factory.mktemp("executor"))
    bench.start()
    yield bench
    bench.executors[0].close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A folder of its own for tests that start executors themselves."""
    bench = Bench(tmp_path)
    yield bench
    for executor in bench.executors:
        executor.close()


numbers = iter(range(1, 10_000))


def log_of(report: AttemptReport) -> str:
    return Path(urlparse(report.log_uri).path).read_text()


def pids_in(path: Path, count: int) -> list[int]:
    wait_until(lambda: path.exists() and len(path.read_text().split()) == count, f"{count} processes in {path}")
    return [int(word) for word in path.read_text().split()]


# What an SDK's task comes to


def run_task(
    bench: Bench, task: str, environment: dict[str, str] | None = None, **inputs: int
) -> tuple[TaskFiles, AttemptReport]:
    place = bench.task_files()
    launch = launch_of(next(numbers), fast(URI, place.command("flows", task, **inputs)), environment)
    bench.executors[0].launch([launch])
    report = bench.reports.end_of(launch)
    assert bench.reports.kinds_of(launch)[0] is ReportKind.STARTED
    return place, report


def test_task_returns_outputs(shared: Bench) -> None:
    place, report = run_task(shared, "add", a=20, b=22)
    assert (report.kind, report.exit_code, report.signal) == (ReportKind.EXITED, 0, None)
    assert place.result() == 42


def test_user_error_is_a_document_and_exit_code_0(shared: Bench) -> None:
    place, report = run_task(shared, "fail", a=13)
    assert report.exit_code == 0
    assert "no luck with 13" in place.error().message
    assert place.error().code == "USER:RuntimeError"
    assert not (place.folder / "out" / "outputs.pb").exists()


def test_recoverable_error_says_so(shared: Bench) -> None:
    place, _ = run_task(shared, "fail_for_now", a=1)
    assert place.error().code == "USER:Recoverable"
    assert place.error().kind == place.error().RECOVERABLE


def test_exit_code_of_a_task_that_vanishes(shared: Bench) -> None:
    _, report = run_task(shared, "vanish", a=7)
    assert (report.exit_code, report.signal) == (7, None)
    assert "about to vanish" in log_of(report)


def test_signal_of_a_task_that_crashes(shared: Bench) -> None:
    _, report = run_task(shared, "crash", a=1)
    assert (report.exit_code, report.signal) == (None, signal.SIGSEGV)
    assert "about to crash" in log_of(report)


def test_module_that_is_missing_is_a_user_error(shared: Bench) -> None:
    place = shared.task_files()
    launch = launch_of(next(numbers), fast(URI, place.command("no_such_flows", "add", a=1)))
    shared.executors[0].launch([launch])
    assert shared.reports.end_of(launch).exit_code == 0
    assert "No module named 'no_such_flows'" in place.error().message


def test_module_that_ends_the_interpreter_ends_its_attempt_only(shared: Bench) -> None:
    shared.blobs["s3://bucket/bad.tar.gz"] = tarball({"bad_flows.py": "import os\nos._exit(3)\n"})
    place = shared.task_files()
    launch = launch_of(next(numbers), fast("s3://bucket/bad.tar.gz", place.command("bad_flows", "add", a=1)))
    shared.executors[0].launch([launch])
    assert shared.reports.end_of(launch).exit_code == 3
    assert run_task(shared, "add", a=1, b=2)[0].result() == 3


def test_module_that_hides_an_imported_one_is_the_one_that_is_used(shared: Bench) -> None:
    flows = "import colorsys\nfrom flytekit import task\n\n\n@task\ndef peek() -> int:\n    return colorsys.VALUE\n"
    code = {"hiding_flows.py": flows, "colorsys.py": "VALUE = 77\nrgb_to_hls = hls_to_rgb = None\n"}
    shared.blobs["s3://bucket/hiding.tar.gz"] = tarball(code)
    place = shared.task_files()
    launch = launch_of(next(numbers), fast("s3://bucket/hiding.tar.gz", place.command("hiding_flows", "peek")))
    shared.executors[0].launch([launch])
    assert shared.reports.end_of(launch).exit_code == 0
    assert place.result() == 77


def test_attempt_has_folder_environment_and_import_of_its_own(shared: Bench) -> None:
    environment = {"FLYTE_INTERNAL_EXECUTION_ID": "exec-one"}
    place, report = run_task(shared, "surroundings", environment)
    work, home, scratch, seen, folder, module = place.outputs()["o0"].scalar.primitive.string_value.split("|")
    attempt = Path(urlparse(report.log_uri).path).parent
    assert (work, home, scratch) == (str(attempt / "work"), str(attempt / "work"), str(attempt / "tmp"))
    assert seen == "exec-one"
    assert Path(folder).is_relative_to(attempt / "tmp")
    assert module == str(attempt / "work" / "flows.py")


def test_attempts_differ_in_their_random_numbers(shared: Bench) -> None:
    assert len({run_task(shared, "dice")[0].result() for _ in range(3)}) == 3


def test_what_an_attempt_writes_beside_its_code_does_not_reach_others(shared: Bench) -> None:
    texts = [run_task(shared, "litter")[0].outputs()["o0"].scalar.primitive.string_value for _ in range(2)]
    assert texts == ["xc,d", "xc,d"]


def test_scratch_is_removed_after_success_and_the_log_is_kept(shared: Bench) -> None:
    _, report = run_task(shared, "add", a=1, b=1)
    attempt = Path(urlparse(report.log_uri).path).parent
    assert not (attempt / "work").exists()
    assert not (attempt / "tmp").exists()
    assert (attempt / "log.txt").exists()


def test_folders_of_the_host_are_not_written(shared: Bench) -> None:
    before = {folder: sorted(Path(folder).iterdir()) for folder in ("/root", ".")}
    for folder in ("/root", "/tmp", "."):
        place = shared.task_files()
        launch = launch_of(next(numbers), fast(URI, place.command("flows", "add", a=1, b=1), folder))
        shared.executors[0].launch([launch])
        shared.reports.end_of(launch)
        assert place.result() == 2
    assert {folder: sorted(Path(folder).iterdir()) for folder in ("/root", ".")} == before
    assert not Path("/tmp/flows.py").exists()


# Any other program


def run_program(bench: Bench, program: str, environment: dict[str, str] | None = None) -> AttemptReport:
    launch = python_of(next(numbers), program, environment)
    bench.executors[0].launch([launch])
    return bench.reports.end_of(launch)


def test_program_exits_with_its_code_and_its_output_is_kept(shared: Bench) -> None:
    report = run_program(shared, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(5)")
    assert (report.kind, report.exit_code, report.signal) == (ReportKind.EXITED, 5, None)
    assert log_of(report) == "out\nerr\n"


def test_program_sees_the_given_environment_and_the_interpreter_first(shared: Bench) -> None:
    program = "import os, sys; print(os.environ['GIVEN_TO_ALL'], os.environ['MINE'], sys.executable, os.getcwd())"
    report = run_program(shared, program, {"MINE": "mine"})
    attempt = Path(urlparse(report.log_uri).path).parent
    assert log_of(report).split() == ["yes", "mine", str(INTERPRETER), str(attempt / "work")]


def test_environment_of_the_server_does_not_leak(shared: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SERVER", "hush")
    assert log_of(run_program(shared, "import os; print(os.environ.get('SECRET_OF_THE_SERVER'))")) == "None\n"


OPEN_FILES = """
import os
names = [n for n in os.listdir("/proc/self/fd") if int(n) > 2 and os.path.exists(f"/proc/self/fd/{n}")]
print([os.readlink(f"/proc/self/fd/{n}") for n in names])
"""


def test_program_has_no_open_files_but_its_own(shared: Bench) -> None:
    report = run_program(shared, OPEN_FILES)
    assert log_of(report) == f"[{str(Path(urlparse(report.log_uri).path).parent / 'claim')!r}]\n"


def test_shell_command_runs(shared: Bench) -> None:
    launch = launch_of(next(numbers), ("/bin/sh", "-c", "echo $0 $HOME; exit 4"))
    shared.executors[0].launch([launch])
    assert shared.reports.end_of(launch).exit_code == 4


def test_program_that_does_not_exist_exits_with_127(shared: Bench) -> None:
    launch = launch_of(next(numbers), ("no-such-program", "--help"))
    shared.executors[0].launch([launch])
    report = shared.reports.end_of(launch)
    assert (report.kind, report.exit_code) == (ReportKind.EXITED, 127)
    assert "cannot run no-such-program: No such file or directory" in log_of(report)


def test_raw_program_gets_its_code(shared: Bench) -> None:
    command = fast(URI, ("python", "-c", "import os; print(open('data/table.csv').read(), os.environ['PYTHONPATH'])"))
    launch = launch_of(next(numbers), command)
    shared.executors[0].launch([launch])
    report = shared.reports.end_of(launch)
    assert log_of(report).startswith("a,b ")
    assert log_of(report).rstrip().endswith(str(Path(urlparse(report.log_uri).path).parent / "work"))


def test_what_a_program_writes_beside_its_code_does_not_reach_others(shared: Bench) -> None:
    litter = (
        "import os, pathlib as p; f = p.Path(os.environ['HOME'], 'count.txt'); print(f.read_text()); f.write_text('x')"
    )
    launches = [launch_of(next(numbers), fast(URI, ("python", "-c", litter))) for _ in range(2)]
    for launch in launches:
        shared.executors[0].launch([launch])
        assert log_of(shared.reports.end_of(launch)) == "\n"


# Refusals


@pytest.mark.parametrize(
    ("data", "words"),
    [(None, "does not exist: register the workflow again"), (b"no archive", "cannot be unpacked")],
)
def test_distribution_that_cannot_be_had_refuses_for_good(shared: Bench, data: bytes | None, words: str) -> None:
    uri = f"s3://bucket/broken-{data is None}.tar.gz"
    if data is not None:
        shared.blobs[uri] = data
    launch = launch_of(next(numbers), fast(uri, ("true",)))
    shared.executors[0].launch([launch])
    report = shared.reports.end_of(launch)
    assert (report.kind, report.recoverable) == (ReportKind.REFUSED, False)
    assert uri in report.message
    assert words in report.message


def test_store_that_is_down_refuses_for_now(tmp_path: Path) -> None:
    def fetch(uri: str) -> bytes:
        raise AdapterError(f"cannot reach {uri}", retryable=True)

    reports = Reports()
    executor = LocalExecutor(tmp_path, python=INTERPRETER, fetch=fetch)
    executor.start(reports)
    launch = launch_of(1, fast(URI, ("true",)))
    executor.launch([launch])
    report = reports.end_of(launch)
    executor.close()
    assert (report.kind, report.recoverable) == (ReportKind.REFUSED, True)
    assert report.message == f"cannot reach {URI}"


def test_empty_command_is_refused(shared: Bench) -> None:
    launch = launch_of(next(numbers), ())
    shared.executors[0].launch([launch])
    report = shared.reports.end_of(launch)
    assert (report.kind, report.recoverable) == (ReportKind.REFUSED, False)
    assert report.message == "the task's container has neither command nor arguments"


def test_interpreter_that_is_missing_is_refused_for_now(tmp_path: Path) -> None:
    reports = Reports()
    executor = LocalExecutor(tmp_path, python=tmp_path / "no-python", fetch=files({}))
    executor.start(reports)
    launch = launch_of(1, ("true",))
    executor.launch([launch])
    report = reports.end_of(launch)
    executor.close()
    assert (report.kind, report.recoverable) == (ReportKind.REFUSED, True)
    assert "no-python" in report.message


# Aborting

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(1000)"
child = subprocess.Popen([sys.executable, "-c", deaf])
daemon = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
with open(os.environ["PIDS"], "w") as file:
    file.write(f"{os.getpid()} {child.pid} {daemon.pid}")
time.sleep(1000)
"""


def test_abort_ends_a_stubborn_program_and_all_it_started(shared: Bench, tmp_path: Path) -> None:
    launch = python_of(next(numbers), STUBBORN, {"PIDS": str(tmp_path / "pids")})
    shared.executors[0].launch([launch])
    pids = pids_in(tmp_path / "pids", 3)
    shared.executors[0].abort([launch.key])
    report = shared.reports.wait_for(launch, ReportKind.ABORTED)
    assert [start_time(pid) for pid in pids] == [0, 0, 0]
    assert shared.reports.kinds_of(launch) == [ReportKind.STARTED, ReportKind.ABORTED]
    assert report.exit_code is None


def test_abort_asks_before_it_kills(shared: Bench, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('put things in order'), sys.exit(0)))\n"
        "open(os.environ['PIDS'], 'w').write(str(os.getpid()))\n"
        "time.sleep(1000)\n"
    )
    launch = python_of(next(numbers), program, {"PIDS": str(tmp_path / "pids")})
    shared.executors[0].launch([launch])
    pids_in(tmp_path / "pids", 1)
    shared.executors[0].abort([launch.key])
    assert "put things in order" in log_of(shared.reports.wait_for(launch, ReportKind.ABORTED))


@pytest.mark.parametrize("new_session", [False, True])
def test_what_a_program_leaves_behind_ends_with_it(shared: Bench, tmp_path: Path, new_session: bool) -> None:
    program = (
        "import os, subprocess, sys\n"
        "command = [sys.executable, '-c', 'import time; time.sleep(1000)']\n"
        f"child = subprocess.Popen(command, start_new_session={new_session})\n"
        "open(os.environ['PIDS'], 'w').write(str(child.pid))\n"
    )
    report = run_program(shared, program, {"PIDS": str(tmp_path / "pids")})
    assert report.exit_code == 0
    assert [start_time(pid) for pid in pids_in(tmp_path / "pids", 1)] == [0]


def test_daemon_that_gave_up_all_ties_ends_with_its_attempt(shared: Bench, tmp_path: Path) -> None:
    program = (
        "import os, time\n"
        "if os.fork():\n    os.wait()\n"
        "else:\n"
        "    os.setsid()\n"
        "    if os.fork():\n        os._exit(0)\n"
        "    os.closerange(0, 100)\n"
        "    pids = os.open(os.environ['PIDS'], os.O_WRONLY | os.O_CREAT)\n"
        "    os.write(pids, str(os.getpid()).encode())\n"
        "    time.sleep(1000)\n"
        "while not os.path.exists(os.environ['PIDS']):\n    time.sleep(0.01)\n"
    )
    report = run_program(shared, program, {"PIDS": str(tmp_path / "pids")})
    assert report.exit_code == 0
    assert [start_time(pid) for pid in pids_in(tmp_path / "pids", 1)] == [0]


def test_abort_of_an_unknown_attempt_is_confirmed_and_it_never_starts(shared: Bench, tmp_path: Path) -> None:
    launch = launch_of(next(numbers), ("touch", str(tmp_path / "ran")))
    shared.executors[0].abort([launch.key])
    shared.reports.wait_for(launch, ReportKind.ABORTED)
    shared.executors[0].launch([launch])
    run_program(shared, "pass")
    assert shared.reports.kinds_of(launch) == [ReportKind.ABORTED]
    assert not (tmp_path / "ran").exists()


def test_abort_after_the_end_is_confirmed(shared: Bench) -> None:
    launch = python_of(next(numbers), "pass")
    shared.executors[0].launch([launch])
    shared.reports.wait_for(launch, ReportKind.EXITED)
    shared.executors[0].abort([launch.key])
    shared.reports.wait_for(launch, ReportKind.ABORTED)
    assert shared.reports.kinds_of(launch) == [ReportKind.STARTED, ReportKind.EXITED, ReportKind.ABORTED]


@pytest.mark.parametrize("is_map", [False, True])
def test_abort_while_queued_never_starts(bench: Bench, tmp_path: Path, is_map: bool) -> None:
    executor = bench.start(concurrency=1)
    first = python_of(1, "import time; time.sleep(1000)")
    second = launch_of(2, ("touch", str(tmp_path / "second")))
    third = launch_of(3, ("touch", str(tmp_path / "third")))
    if is_map:
        first, second, third = (as_element(launch, n) for n, launch in enumerate((first, second, third)))
    executor.launch([first, second, third])
    bench.reports.wait_for(first, ReportKind.STARTED)
    executor.abort([second.key])
    bench.reports.wait_for(second, ReportKind.ABORTED)
    executor.abort([first.key])
    assert bench.reports.end_of(third).exit_code == 0
    assert bench.reports.kinds_of(second) == [ReportKind.ABORTED]
    assert not (tmp_path / "second").exists()


# Queueing

COUNTING = """
import os, time
folder = os.environ["FOLDER"]
mine = os.path.join(folder, str(os.getpid()))
open(mine, "w").close()
running = len(os.listdir(folder))
time.sleep(0.05)
os.remove(mine)
print(running)
"""


def test_no_more_run_at_once_than_allowed_and_in_order(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "running").mkdir()
    executor = bench.start(concurrency=2)
    launches = [python_of(n, COUNTING, {"FOLDER": str(tmp_path / "running")}) for n in range(6)]
    executor.launch(launches)
    logs = [int(log_of(bench.reports.end_of(launch))) for launch in launches]
    assert max(logs) == 2
    started = [report.key.node for report in bench.reports.all if report.kind is ReportKind.STARTED]
    assert started[:2] in ([0, 1], [1, 0])
    assert sorted(started[-2:]) == [4, 5]


def test_those_that_wait_behind_a_long_one_run_where_there_is_room(bench: Bench) -> None:
    executor = bench.start(concurrency=2)
    long = as_element(python_of(0, "import time; time.sleep(1000)"), 0)
    short = [as_element(python_of(n, f"print({n})"), n) for n in range(1, 12)]
    executor.launch([long, *short])
    assert [log_of(bench.reports.end_of(launch)) for launch in short] == [f"{n}\n" for n in range(1, 12)]
    bench.reports.wait_for(long, ReportKind.STARTED)
    assert bench.reports.kinds_of(long) == [ReportKind.STARTED]
    executor.abort([long.key])
    assert bench.reports.end_of(long).kind is ReportKind.ABORTED


def test_an_element_is_told_to_have_started_if_it_takes_a_while(bench: Bench, tmp_path: Path) -> None:
    executor = bench.start(concurrency=2)
    waits = f"import pathlib, time\nwhile not pathlib.Path({str(tmp_path / 'go')!r}).exists(): time.sleep(0.01)"
    long, short = as_element(python_of(0, waits), 0), as_element(python_of(1, "print('brief')"), 1)
    executor.launch([long, short])
    ended = bench.reports.end_of(short)
    assert (ended.exit_code, log_of(ended)) == (0, "brief\n")
    started = bench.reports.wait_for(long, ReportKind.STARTED)
    assert urlparse(started.log_uri).path.endswith("log.txt")
    (tmp_path / "go").touch()
    assert bench.reports.end_of(long).exit_code == 0
    assert bench.reports.kinds_of(long) == [ReportKind.STARTED, ReportKind.EXITED]


def test_no_task_waits_behind_another_while_a_later_one_runs(bench: Bench, tmp_path: Path) -> None:
    executor = bench.start(concurrency=2)
    long = python_of(0, "import time; time.sleep(1000)")
    others = [launch_of(n, ("/bin/sh", "-c", f"echo {n} >> {tmp_path / 'ran'}")) for n in range(1, 20)]
    executor.launch([long, *others])
    assert [bench.reports.end_of(launch).exit_code for launch in others] == [0] * 19
    assert (tmp_path / "ran").read_text().split() == [str(n) for n in range(1, 20)]


def test_programs_and_tasks_that_need_different_warm_processes_take_turns(bench: Bench) -> None:
    executor = bench.start(concurrency=1)
    places = [bench.task_files() for _ in range(6)]
    tasks = [launch_of(2 * n, fast(URI, place.command("flows", "add", a=n, b=1))) for n, place in enumerate(places)]
    programs = [python_of(2 * n + 1, "pass", {"OWN": str(n % 2)}) for n in range(6)]
    executor.launch([launch for pair in zip(tasks, programs, strict=True) for launch in pair])
    assert [bench.reports.end_of(launch).exit_code for launch in [*tasks, *programs]] == [0] * 12
    assert [place.result() for place in places] == [1, 2, 3, 4, 5, 6]


def test_thirty_tasks_at_once(bench: Bench) -> None:
    executor = bench.start(concurrency=30)
    places = [bench.task_files() for _ in range(30)]
    launches = [launch_of(n, fast(URI, place.command("flows", "add", a=n, b=1))) for n, place in enumerate(places)]
    executor.launch(launches)
    assert [bench.reports.end_of(launch).exit_code for launch in launches] == [0] * 30
    assert [place.result() for place in places] == list(range(1, 31))


def test_launching_again_changes_nothing(shared: Bench, tmp_path: Path) -> None:
    launch = launch_of(next(numbers), ("/bin/sh", "-c", f"echo ran >> {tmp_path / 'runs'}"))
    shared.executors[0].launch([launch, launch])
    shared.reports.end_of(launch)
    shared.executors[0].launch([launch])
    run_program(shared, "pass")
    assert (tmp_path / "runs").read_text() == "ran\n"
    assert shared.reports.kinds_of(launch) == [ReportKind.STARTED, ReportKind.EXITED]


def test_forget_keeps_the_log_and_the_end(bench: Bench) -> None:
    executor = bench.start()
    launch = python_of(1, "open('left.txt', 'w').close(); print('said')")
    executor.launch([launch])
    attempt = Path(urlparse(bench.reports.end_of(launch).log_uri).path).parent
    assert (attempt / "work" / "left.txt").exists()
    executor.forget([launch.name])
    wait_until(lambda: not (attempt / "work").exists(), "the work folder to go")
    executor.launch([launch])
    wait_until(lambda: bench.reports.kinds_of(launch).count(ReportKind.EXITED) == 2, "the end to be told again")
    assert (attempt / "log.txt").read_text() == "said\n"


def test_names_that_are_no_file_names_work(shared: Bench) -> None:
    for name in ("../escape", "a/b", ".", "x" * 300, "näme"):
        launch = launch_of(next(numbers), ("true",), name=name)
        shared.executors[0].launch([launch])
        report = shared.reports.end_of(launch)
        assert report.exit_code == 0
        assert Path(urlparse(report.log_uri).path).parent.parent == shared.folder / "attempts"


def test_large_environment_arrives(shared: Bench) -> None:
    report = run_program(
        shared,
        "import os; print(sum(len(os.environ[f'V{n}']) for n in range(8)))",
        {f"V{n}": "x" * 100_000 for n in range(8)},
    )
    assert log_of(report) == "800000\n"


# Warm processes that fail


def test_death_of_a_warm_process_ends_its_attempts_and_the_next_gets_another(bench: Bench, tmp_path: Path) -> None:
    executor = bench.start()
    launch = python_of(1, STUBBORN, {"PIDS": str(tmp_path / "pids")})
    executor.launch([launch])
    pids = pids_in(tmp_path / "pids", 3)
    supervisor = int(Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    report = bench.reports.end_of(launch)
    assert (report.kind, report.signal) == (ReportKind.EXITED, signal.SIGKILL)
    assert [start_time(pid) for pid in pids] == [0, 0, 0]
    after = python_of(2, "print('well')")
    executor.launch([after])
    assert log_of(bench.reports.end_of(after)) == "well\n"


def test_death_of_a_warm_process_costs_those_that_wait_behind_nothing(bench: Bench, tmp_path: Path) -> None:
    executor = bench.start(concurrency=1)
    first = as_element(python_of(0, "import os, time; print(os.getppid(), flush=True); time.sleep(1000)"), 0)
    appending = [launch_of(n, ("/bin/sh", "-c", f"echo {n} >> {tmp_path / 'ran'}")) for n in range(1, 10)]
    waiting = [as_element(launch, n) for n, launch in enumerate(appending, 1)]
    executor.launch([first, *waiting])
    log = Path(urlparse(bench.reports.wait_for(first, ReportKind.STARTED).log_uri).path)
    wait_until(lambda: bool(log.read_text()), "the first to say what it was forked from")
    os.kill(int(log.read_text()), signal.SIGKILL)
    assert bench.reports.end_of(first).signal == signal.SIGKILL
    assert [bench.reports.end_of(launch).exit_code for launch in waiting] == [0] * 9
    assert (tmp_path / "ran").read_text().split() == [str(n) for n in range(1, 10)]


def test_interpreter_without_the_sdk_runs_programs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.defpath)  # where no other environment's programs are
    executor = LocalExecutor(bench.folder, python=_bare_python(bench.folder), fetch=files(bench.blobs))
    bench.executors.append(executor)
    executor.start(bench.reports)
    launches = [python_of(1, "print('bare')"), launch_of(2, ("pyflyte-execute", "--inputs", "x"))]
    executor.launch(launches)
    assert log_of(bench.reports.end_of(launches[0])) == "bare\n"
    assert bench.reports.end_of(launches[1]).exit_code == 127


def _bare_python(folder: Path) -> Path:
    venv.create(folder / "bare", with_pip=False)
    return folder / "bare" / "bin" / "python"


HEAVY = """
import sys

from flytekit import task

EARLY = "networkx" in sys.modules

import networkx


@task
def early() -> bool:
    return EARLY
"""


def test_libraries_that_were_needed_are_imported_ahead(bench: Bench) -> None:
    uri = "s3://bucket/heavy.tar.gz"
    bench.blobs[uri] = tarball({"heavy.py": HEAVY})
    executor = bench.start()

    def is_early(number: int) -> bool:
        place = bench.task_files()
        launch = launch_of(number, fast(uri, place.command("heavy", "early")))
        executor.launch([launch])
        assert bench.reports.end_of(launch).exit_code == 0
        return place.outputs()["o0"].scalar.primitive.boolean

    assert not is_early(1)
    others = iter(range(2, 1000))
    wait_until(lambda: is_early(next(others)), "a warm process with networkx")
