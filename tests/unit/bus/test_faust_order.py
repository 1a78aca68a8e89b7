"""The order in which the Faust runtime folds what it has at hand."""

from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from libs.bus.faust_app import in_order


def run(topic: str, *times: float) -> list[Any]:
    return [SimpleNamespace(message=SimpleNamespace(tp=TP(topic, 0), timestamp=time)) for time in times]


@pytest.mark.parametrize("arrived", [["b", "a"], ["a", "b"]])
def test_by_time_and_of_equal_times_in_the_order_of_the_inputs(arrived: list[str]) -> None:
    runs = {"b": run("b", 1.001, 1.002, 1.002), "a": run("a", 1.002, 1.003)}
    ordered = in_order({TP(topic, 0): runs[topic] for topic in arrived}, ["b", "a"])
    assert [event.message.tp.topic for event in ordered] == ["b", "b", "b", "a", "a"]
    ordered = in_order({TP(topic, 0): runs[topic] for topic in arrived}, ["a", "b"])
    assert [event.message.tp.topic for event in ordered] == ["b", "a", "b", "b", "a"]
