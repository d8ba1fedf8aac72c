"""Gates: nothing goes on before the time, the answer or the approval is there."""

from __future__ import annotations

import pytest
from flyteidl.core import types_pb2

from tests.e2e.workflows import gates
from tests.support.parity import Case, Runs, until

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own warnings are not ours to mend

CASES = {
    "sleeping": Case("gates.sleeping", {"n": 1}),
    "asking": Case("gates.asking", answers=("41", "word", "true", "1.25")),
    "dataclass": Case("gates.asking_for_a_dataclass", answers=('{"count": 2, "words": ["a", "b"], "ratio": 0.5}',)),
    "approving": Case("gates.approving", {"n": 1}, answers=("y",)),
    "rejected": Case("gates.rejected", {"n": 1}, answers=("n",)),
    "chosen-up": Case("gates.chosen", {"n": 1}, answers=("true",)),
    "chosen-down": Case("gates.chosen", {"n": 1}, answers=("false",)),
    "shared": Case("gates.asked_twice", {"n": 1}, answers=("5", "5")),
    "impatient": Case("gates.impatient", {"n": 1}, local=False),
    "aborted": Case("gates.one_question", {"n": 1}, local=False),
}


def signals(runs: Runs, key: str) -> dict[str, object]:
    """Return the signals of an execution by their ids."""
    return {signal.id.signal_id: signal for signal in runs.client.remote.list_signals(runs.started(key).id.name)}


def answer(runs: Runs, key: str, signal: str, value: object, python_type: type | None = None) -> None:
    """Set a signal once its gate waits."""
    until(lambda: signal in signals(runs, key), f"{signal} is asked for")
    runs.client.remote.set_input(signal, runs.started(key).id.name, value, python_type=python_type or type(value))


def test_sleep(runs: Runs) -> None:
    runs.assert_same("sleeping")
    assert runs.outline("sleeping") == dict.fromkeys(("start-node", "n0", "n1", "n2", "end-node"), "SUCCEEDED")
    row = runs.admin.tree(runs.ended("sleeping"))["n1"]
    assert row.closure.duration.ToTimedelta().total_seconds() >= 1
    assert row.closure.output_uri == ""


def test_inputs_of_every_simple_type(runs: Runs) -> None:
    answer(runs, "asking", "number", 41)
    answer(runs, "asking", "word", "word")
    answer(runs, "asking", "sure", True)
    assert runs.admin.outline(runs.started("asking")).get("end-node") is None
    answer(runs, "asking", "ratio", 1.25)
    runs.assert_same("asking")
    listed = signals(runs, "asking")
    assert set(listed) == {"number", "word", "sure", "ratio"}
    assert listed["number"].value.scalar.primitive.integer == 41
    assert listed["word"].type.simple == types_pb2.STRING


def test_a_value_of_another_type_is_refused(runs: Runs) -> None:
    until(lambda: "up" in signals(runs, "chosen-up"), "the direction is asked for")
    with pytest.raises(Exception, match="is not castable to existing signal type"):
        runs.client.remote.set_input("up", runs.started("chosen-up").id.name, "a")
    with pytest.raises(Exception, match="signal does not exist"):
        runs.client.remote.set_input("nosuch", runs.started("chosen-up").id.name, 1)


def test_a_dataclass_as_input(runs: Runs) -> None:
    answer(runs, "dataclass", "reply", gates.Reply(2, ["a", "b"], 0.5))
    runs.assert_same("dataclass")


def test_approval(runs: Runs) -> None:
    until(lambda: "made-is-right" in signals(runs, "approving"), "approval is asked for")
    runs.client.remote.approve("made-is-right", runs.started("approving").id.name)
    assert runs.assert_same("approving") == {"o0": 12}


def test_rejection(runs: Runs) -> None:
    until(lambda: "made-is-wrong" in signals(runs, "rejected"), "approval is asked for")
    runs.client.remote.reject("made-is-wrong", runs.started("rejected").id.name)
    assert "error" in runs.local("rejected")
    assert runs.phase("rejected") == "FAILED"
    assert runs.error("rejected")[0] == "ReceivedRejectSignal"
    assert runs.outline("rejected") == {"start-node": "SUCCEEDED", "n0": "SUCCEEDED", "n1": "FAILED"}


@pytest.mark.parametrize(("key", "up"), [("chosen-up", True), ("chosen-down", False)])
def test_a_branch_over_an_answer(runs: Runs, key: str, up: bool) -> None:
    answer(runs, key, "up", up)
    runs.assert_same(key)


def test_gates_of_one_name_share_their_signal(runs: Runs) -> None:
    answer(runs, "shared", "shared", 5)
    runs.assert_same("shared")
    assert len(signals(runs, "shared")) == 1


def test_a_gate_times_out(runs: Runs) -> None:
    assert runs.phase("impatient") == "FAILED"
    assert runs.outline("impatient")["n0"] in ("FAILED", "TIMED_OUT")


def test_a_waiting_gate_can_be_aborted(runs: Runs) -> None:
    until(lambda: "shared" in signals(runs, "aborted"), "the question is asked")
    runs.client.remote.terminate(runs.started("aborted"), "no answer")
    assert runs.phase("aborted") == "ABORTED"
    assert runs.outline("aborted")["n0"] == "ABORTED"
