"""When a rebalance of the Faust runtime is over."""

from typing import Any

import pytest

from libs.bus.faust_app import App, make_app
from libs.bus.settings import BusSettings


@pytest.fixture
async def app() -> App:
    async def nothing(*_: object) -> None: ...

    return make_app("g", BusSettings(), ["ocpp.lifecycle"], nothing, nothing)


def assign(app: App, generation: int) -> None:
    app.consumer_generation_id = generation
    app.assigned_in = app.rebalancing_count


def end(app: App, generation: int) -> None:
    """Faust's recovery ends the rebalance that it knows of."""
    tables: Any = app.tables
    vars(tables.recovery).update(_generation_id=generation)
    app.on_rebalance_end()


async def test_it_is_over_when_the_tables_are_restored_until_the_next_begins(app: App) -> None:
    assert app.settled is None
    app.on_rebalance_start()
    assign(app, 7)
    assert app.settled is None
    end(app, 7)
    first = app.settled
    assert first is not None
    app.on_rebalance_start()
    assert app.settled is None
    assign(app, 8)
    end(app, 8)
    assert app.settled not in (None, first)


async def test_an_end_that_comes_when_the_next_has_begun_is_none(app: App) -> None:
    app.on_rebalance_start()
    assign(app, 7)
    app.on_rebalance_start()
    end(app, 7)
    assert app.settled is None
    assign(app, 8)
    assert app.settled is None
    end(app, 7)
    assert app.settled is None
    end(app, 8)
    assert app.settled is not None


async def test_an_end_is_none_while_the_tables_of_the_next_wait_to_be_restored(app: App) -> None:
    tables: Any = app.tables
    recovery = tables.recovery
    app.on_rebalance_start()
    assign(app, 7)
    vars(recovery).update(_generation_id=7)
    recovery.signal_recovery_start.set()
    app.on_rebalance_end()
    assert app.settled is None
    recovery.signal_recovery_start.clear()
    app.on_rebalance_end()
    assert app.settled is not None
