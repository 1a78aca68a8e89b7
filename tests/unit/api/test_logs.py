"""Which status notification belongs to which request for a log."""

from datetime import UTC, datetime
from typing import Any

from services.api.domain.log_uploads import joined, number_of


def at(minute: int) -> datetime:
    return datetime(2026, 1, 1, 12, minute, tzinfo=UTC)


def command(command_id: str, minute: int, payload: str, **fields: Any) -> dict[str, Any]:
    base = {
        "command_id": command_id,
        "payload": payload,
        "requested_at": at(minute),
        "requested_by": "test",
        "fate": "ACCEPTED",
        "reason": "",
        "result": None,
    }
    return base | fields


def said(minute: int, payload: str) -> dict[str, Any]:
    return {"recorded_at": at(minute), "payload": payload}


def test_notifications_find_their_request_by_number_and_those_without_by_time() -> None:
    commands = [
        command("a", 1, '{"log":"security","location":"https://x/","request_id":7}'),
        command("b", 5, '{"logType":"DiagnosticsLog","requestId":8,"log":{"remoteLocation":"https://y/"}}'),
        command("c", 6, '{"location":"ftp://z/"}', fate="FAILED"),
        command("d", 9, '{"location":"ftp://z/"}', result='{"fileName":"d.zip"}'),
    ]
    notifications = [
        said(2, '{"status":"Uploading","requestId":7}'),
        said(7, '{"status":"Uploaded","requestId":7}'),
        said(3, '{"status":"Uploading","requestId":8}'),
        said(8, '{"status":"Idle"}'),
        said(10, '{"status":"Uploading"}'),
        said(11, '{"status":"Uploaded"}'),
        said(12, '{"status":"Uploaded","requestId":99}'),
        said(0, '{"status":"Uploaded"}'),
        said(12, "nonsense"),
    ]
    found = {each.command_id: each for each in joined(commands, notifications)}
    assert list(found) == ["d", "c", "b", "a"]
    assert [upload.status for upload in found["a"].uploads] == ["Uploading", "Uploaded"]
    assert [upload.status for upload in found["b"].uploads] == ["Idle"]
    assert [upload.status for upload in found["d"].uploads] == ["Uploading", "Uploaded", ""]
    assert found["c"].uploads == ()
    assert [(each.log, each.location, each.request_id) for each in found.values()] == [
        ("diagnostics", "ftp://z/", None),
        ("diagnostics", "ftp://z/", None),
        ("diagnostics", "https://y/", 8),
        ("security", "https://x/", 7),
    ]
    assert found["d"].filename == "d.zip"


def test_a_command_s_number_is_its_own_and_a_positive_int() -> None:
    numbers = {number_of(f"command-{index}") for index in range(1000)}
    assert len(numbers) == 1000
    assert all(0 < number < 2**31 for number in numbers)
    assert number_of("command-1") == number_of("command-1")
