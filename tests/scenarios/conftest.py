"""One platform for all scenarios; a station of its own for each."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.devstack import Endpoints
from libs.ocpp.versions import MAX_IDENTITY_LENGTH
from tests.scenarios.charger import Json, ScriptedCharger
from tests.scenarios.processes import running_platform
from tests.scenarios.rig import Rig


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "station(**fields): how the scenario's station is registered, and its password"
    )


def station_of(item: pytest.Item) -> Json:
    """How a scenario's station is registered. Its id comes from the test's name."""
    fields: Json = {}
    for mark in item.iter_markers("station"):
        fields |= mark.kwargs
    name = item.name.removeprefix("test_").replace("_", "-")
    return {**fields, "station_id": name[:MAX_IDENTITY_LENGTH].rstrip("-")}


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def rig(
    stack: Endpoints, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rig]:
    """The platform, which knows the stations of all scenarios from the start."""
    stations = [station_of(item) for item in request.session.items if "scenarios" in item.path.parts]
    async with running_platform(stack, stations, tmp_path_factory.mktemp("tls")) as platform:
        yield platform


@pytest.fixture
def station_id(request: pytest.FixtureRequest) -> str:
    """The scenario's own station."""
    return str(station_of(request.node)["station_id"])


@pytest_asyncio.fixture(loop_scope="session")
async def cp(rig: Rig, station_id: str) -> AsyncIterator[ScriptedCharger]:
    """A charge point of 1.6 that has booted."""
    async with rig.charger(station_id) as charger:
        await charger.boot()
        yield charger


@pytest_asyncio.fixture(loop_scope="session")
async def cs(rig: Rig, station_id: str) -> AsyncIterator[ScriptedCharger]:
    """A charging station of 2.0.1 that has booted."""
    async with rig.charger(station_id, "ocpp2.0.1") as charger:
        await charger.boot()
        yield charger


@pytest_asyncio.fixture(loop_scope="session")
async def cs21(rig: Rig, station_id: str) -> AsyncIterator[ScriptedCharger]:
    """A charging station of 2.1 that has booted."""
    async with rig.charger(station_id, "ocpp2.1") as charger:
        await charger.boot()
        yield charger
