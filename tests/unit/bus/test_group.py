"""Which offsets of a partition may be committed while records overtake each other."""

from libs.bus.group import Progress


def test_nothing_is_committed_past_a_record_that_is_under_way() -> None:
    progress = Progress()
    for offset in (5, 6, 9):
        progress.begin(offset)
    assert progress.next == 5
    progress.done(6)
    assert progress.next == 5
    progress.done(5)
    assert progress.next == 9
    progress.done(9)
    assert progress.next == 10
    progress.done(9)
    assert progress.next == 10
