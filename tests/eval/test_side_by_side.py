"""Tasks in processes of their own: a dead one costs its own attempt, and none outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from eval import side_by_side
from eval.side_by_side import RunsFailed, Slots, Work

TWO = Slots([{}, {}])

TASKS = '''
import os, signal, sys, time
from pathlib import Path

def train(task, tell):
    """Task (folder, name, deaths): notes its attempt, dies the first times, else leaves a result."""
    folder, name, deaths = task
    attempt = len(list(folder.glob(f"{name}.try*")))
    (folder / f"{name}.try{attempt}").write_text(str(os.getpid()))
    tell(3)
    if attempt < deaths:
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    tell(2)
    (folder / name).touch()
    return name.upper()

def spoil(task, tell):
    """A task that fails with its process the first time."""
    from eval.side_by_side import ProcessSpoilt
    (task / f"{os.getpid()} {os.environ['SLOT']}").touch()
    if len(list(task.iterdir())) == 1:
        raise ProcessSpoilt("the GPU is lost")
    return os.environ["SLOT"]

def refuse(task, tell):
    if task == 1:
        raise KeyError("one")
    if task == 2:
        sys.exit(7)
    return task

def sleep(task, tell):
    (task / str(os.getpid())).touch()
    time.sleep(600)
'''

PARENT = """
import pathlib, sys
from eval import side_by_side
import sleepers
if __name__ == "__main__":
    work = side_by_side.Work("sleep", sleepers.sleep, "token", lambda task: 1, str)
    side_by_side.run(work, [pathlib.Path(sys.argv[1])] * 3, side_by_side.Slots([{}, {}]))
"""


@pytest.fixture
def functions(tmp_path, monkeypatch):
    """A module that child processes find too."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "sleepers.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path / "code")
    monkeypatch.delitem(sys.modules, "sleepers", raising=False)
    import sleepers

    return sleepers


def label(task):
    return f"run {task[1]}" if isinstance(task, tuple) else f"run {task}"


def work(function):
    return Work("train", function, "token", lambda task: 5, label)


def attempts(folder):
    return {name: len(list(folder.glob(f"{name}.try*"))) for name in "abcd"}


def test_a_killed_trainer_is_tried_again_and_the_others_do_not_notice(functions, tmp_path, capsys):
    tasks = [(tmp_path, name, 1 if name == "b" else 0) for name in "abcd"]
    assert side_by_side.run(work(functions.train), tasks, TWO) == ["A", "B", "C", "D"]
    assert attempts(tmp_path) == {"a": 1, "b": 2, "c": 1, "d": 1}
    bar = capsys.readouterr().err
    assert "20.0/20.0" in bar and "4 of 4 done" in bar  # work told by the dead is not counted twice


def test_a_trainer_that_is_killed_every_time_is_named_and_the_others_are_done(functions, tmp_path):
    tasks = [(tmp_path, name, 99 if name == "b" else 0) for name in "abcd"]
    with pytest.raises(RunsFailed, match=r"1 of 4 runs failed, the others are done:\n  run b: .* 3 times, .* by SIGKILL"):
        side_by_side.run(work(functions.train), tasks, TWO)
    assert {name for name in "abcd" if (tmp_path / name).exists()} == {"a", "c", "d"}
    assert attempts(tmp_path) == {"a": 1, "b": 3, "c": 1, "d": 1}


def test_errors_are_told_with_their_type_and_line_and_exits_with_their_code(functions):
    with pytest.raises(RunsFailed) as failed:
        side_by_side.run(work(functions.refuse), [0, 1, 2, 3], TWO)
    assert "2 of 4 runs failed" in str(failed.value)
    assert "\n  run 1: KeyError: 'one' (sleepers.py:28)\n" in str(failed.value)
    assert "\n  run 2: its process died 3 times, the last time with exit code 7" in str(failed.value)


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def heed_interrupts():
    """What a shell starts in the background ignores SIGINT, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("killed_by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_child_outlives_its_parent(functions, tmp_path, killed_by):
    (tmp_path / "parent.py").write_text(PARENT)
    (tmp_path / "pids").mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "pids")]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, preexec_fn=heed_interrupts) as parent:
        deadline = time.monotonic() + 60
        while len(children := [int(file.name) for file in (tmp_path / "pids").iterdir()]) < 2:
            assert time.monotonic() < deadline and parent.poll() is None
            time.sleep(0.05)
        assert all(map(alive, children))
        parent.send_signal(killed_by)
        parent.wait(30)
    deadline = time.monotonic() + 3
    while any(map(alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, children))


@pytest.mark.parametrize("call", ["recv", "send"])
@pytest.mark.parametrize("error", [EOFError, ConnectionResetError, BrokenPipeError])
def test_a_child_whose_parent_is_gone_ends_without_a_word(monkeypatch, call, error):
    monkeypatch.setattr(side_by_side, "_end_with_parent", lambda: None)  # which is as quick, now and then
    monkeypatch.setattr(side_by_side.signal, "signal", lambda *_: None)

    def gone(*_):
        raise error

    link = SimpleNamespace(**{"recv": lambda: 1, "send": lambda _: None, call: gone})
    side_by_side._serve(lambda task, tell: tell(task), {}, link)


def test_a_task_that_spoils_its_process_is_tried_in_another_with_the_same_environment(functions, tmp_path):
    (tmp_path / "tries").mkdir()
    found = side_by_side.run(work(functions.spoil), [tmp_path / "tries"], Slots([{"SLOT": "7"}]))
    assert found == ["7"]
    tries = [file.name.split() for file in (tmp_path / "tries").iterdir()]
    assert len({process for process, _ in tries}) == 2 and {slot for _, slot in tries} == {"7"}


def test_the_bar_says_how_far_the_machine_is_used(functions, tmp_path, capsys):
    tasks = [(tmp_path, "a", 0)]
    side_by_side.run(replace(work(functions.train), flops=lambda _: 1e9), tasks, Slots([{}], peak=1.0))
    assert "1 of 1 done, " in (said := capsys.readouterr().err) and "% of the peak" in said
