"""The local platform: what is set wins, what counts is said, and nobody else reads its secrets."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from deploy.local.__main__ import in_force
from deploy.local.platform import DiskFullError, Platform, is_full, run_until_interrupted
from deploy.local.settings import LocalSettings
from libs.devstack import StackError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("VOLTBUS_"):
            monkeypatch.delenv(name)


SET = {
    "VOLTBUS_DEFERRED": "GetCertificateStatus:8",
    "VOLTBUS_UNKNOWN_STATIONS": "reject",
    "VOLTBUS_UNKNOWN_TOKENS": "reject",
    "VOLTBUS_NAMESPACE": "mine",
    "VOLTBUS_PARTITIONS": "7",
    "VOLTBUS_SLOTS": "5",
    "VOLTBUS_REPLICATION": "1",
    "VOLTBUS_CLICKHOUSE_DATABASE": "mine",
    "VOLTBUS_API_KEY": "an-operators-key-0123456789",
    "VOLTBUS_CLICKHOUSE_PASSWORD": "my own password",
    "VOLTBUS_API_HOST": "0.0.0.0",
    "VOLTBUS_HTTP_HOST": "0.0.0.0",
    "VOLTBUS_TRANSACTION_KEY": "my own transaction key",
    "VOLTBUS_SECRETS_KEY": "my own key of secrets",
    "VOLTBUS_LOG_LEVEL": "DEBUG",
    "VOLTBUS_EDGE_HOST": "0.0.0.0",
    "VOLTBUS_MAX_CONNECTIONS": "17",
}


@pytest.mark.parametrize("name", list(SET))
def test_what_is_set_reaches_every_service(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = Platform(LocalSettings(data=tmp_path)).services
    monkeypatch.setenv(name, SET[name])
    for service in Platform(LocalSettings(data=tmp_path)).services.values():
        told = service.environment()
        if name in default[service.name].environment() or name in told:
            assert told[name] == SET[name], service.name


def test_what_is_set_is_where_topics_and_tables_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SET.items():
        monkeypatch.setenv(name, value)
    platform = Platform(LocalSettings(data=tmp_path))
    assert (platform.bus.namespace, platform.bus.partitions, platform.bus.slots) == ("mine", 7, 5)
    assert platform.bus.replication == 1
    assert platform.clickhouse.clickhouse_database == "mine"
    assert platform.secrets.api_key == SET["VOLTBUS_API_KEY"]
    assert platform.api_url == "http://127.0.0.1:8080"


def test_what_is_in_force_is_said_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "VOLTBUS_DEFERRED": "GetCertificateStatus:8",
        "VOLTBUS_API_KEY": "an-operators-key-0123456789",
        "VOLTBUS_KAFKA": "elsewhere:9092",
        "HOME": "/root",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    said = "\n".join(in_force(Platform(LocalSettings(data=tmp_path)), given))
    assert "set by you  VOLTBUS_API_KEY, VOLTBUS_DEFERRED=GetCertificateStatus:8" in said
    assert "not used    VOLTBUS_KAFKA:" in said
    assert "VOLTBUS_UNKNOWN_STATIONS=accept" in said
    assert "an-operators-key" not in said
    assert "HOME" not in said


def test_only_the_owner_reads_what_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    made = Platform(LocalSettings(data=folder)).secrets
    assert folder.stat().st_mode & 0o777 == 0o700
    secrets = folder / "secrets.json"
    assert secrets.stat().st_mode & 0o777 == 0o600
    secrets.chmod(0o644)
    assert Platform(LocalSettings(data=folder)).secrets == made
    assert secrets.stat().st_mode & 0o777 == 0o600


def test_secrets_that_are_cut_off_are_named(tmp_path: Path) -> None:
    (tmp_path / "secrets.json").write_bytes(b"")
    with pytest.raises(StackError, match=r"secrets\.json cannot be read"):
        Platform(LocalSettings(data=tmp_path))


def test_a_full_disk_is_named_and_everything_is_stopped_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = Platform(LocalSettings(data=tmp_path, least_free_mb=128))
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=1500 << 20, free=100 << 20))
    stopped: list[str] = []
    monkeypatch.setattr(platform, "stop", lambda: stopped.append("all"))
    said: list[str] = []
    with pytest.raises(
        DiskFullError, match=r"is full: 100 of 1500 MB are free.*VOLTBUS_LEAST_FREE_MB=128"
    ) as raised:
        run_until_interrupted(platform, said.append)
    assert str(tmp_path) in str(raised.value)
    assert stopped == ["all"]
    assert said == ["the disk is full: stopping"]
    with pytest.raises(DiskFullError):
        platform.start(said.append)


def test_a_disk_that_is_not_watched_is_never_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(total=1, free=0))
    Platform(LocalSettings(data=tmp_path, least_free_mb=0)).check_room()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_is_no_traceback(code: int) -> None:
    assert is_full(OSError(code, "no room"))
    assert not is_full(OSError(errno.EACCES, "not yours"))
