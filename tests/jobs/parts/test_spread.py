"""A run as a task of a cluster, without a cluster: what it does about other attempts, spoilt processes and failures."""

import os
from dataclasses import dataclass

import pytest

from eval.side_by_side import ProcessSpoilt, Work
from eval.training import RunBusy
from jobs.parts import spread


@dataclass(frozen=True)
class Task:
    """A task that notes its device."""

    device: str = "nowhere"

    def on(self, device):
        return Task(device)


def work(function):
    return Work("train", function, "token", lambda task: 1, str)


def test_a_task_runs_on_the_device_that_is_asked_for():
    seen = []
    assert spread.attempt(work(lambda task, tell: seen.append(task.device)), Task(), "cpu") is None
    assert seen == ["cpu"]


def test_a_task_that_fails_is_told_and_not_raised():
    def fail(task, tell):
        raise ValueError("too few tokens")

    assert str(spread.attempt(work(fail), Task(), "cpu")).startswith("ValueError: too few tokens (test_spread.py:")


def test_a_second_attempt_waits_for_the_first(monkeypatch):
    slept, tries = [], []

    def busy(task, tell):
        tries.append(1)
        if len(tries) < 3:
            raise RunBusy("another process is training it")

    monkeypatch.setattr(spread.time, "sleep", slept.append)
    assert spread.attempt(work(busy), Task(), "cpu") is None
    assert slept == [spread.BUSY_SECONDS] * 2


def test_a_spoilt_process_ends_so_that_the_task_is_tried_in_another(monkeypatch):
    class Ended(BaseException):
        """Stands for the end of the process."""

    def end(code):
        raise Ended(code)

    def lost(task, tell):
        raise ProcessSpoilt("the GPU failed")

    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended):
        spread.attempt(work(lost), Task(), "cpu")
