"""How far an input has been handled in time, whatever is written and however slowly it is read."""

from hypothesis import given
from hypothesis import strategies as st

from libs.bus.watermark import Watermark

Written = st.lists(st.integers(0, 20), max_size=8)
"""Records are written this long after one another, while a fetch is under way."""


class Input:
    """A partition and who fetches from it, one fetch after the other. Records are told by when they were written."""

    def __init__(self) -> None:
        self.now = 1
        self.written: list[int] = []
        self.handled = 0
        self.answer: tuple[int, int] | None = None

    def write(self, gaps: list[int]) -> None:
        for gap in gaps:
            self.now += gap
            self.written.append(self.now)

    def fetch(self, before: list[int], after: list[int]) -> None:
        """Answered with the end after `before` was written; `after` is written while the answer is on its way."""
        self.write(before)
        end = len(self.written)
        self.write(after)
        self.now += 1
        self.answer = self.now, end

    def handle(self, most: int) -> None:
        """What was fetched, but no more than `most`."""
        if self.answer is not None:
            self.handled = min(self.handled + most, max(self.handled, self.answer[1]))

    def look(self, watermark: Watermark) -> None:
        answered_at, end = self.answer or (None, None)
        watermark.observe(answered_at, end, self.handled)


Steps = st.lists(
    st.one_of(
        st.tuples(st.just("fetch"), Written, Written),
        st.tuples(st.just("handle"), st.integers(0, 10)),
        st.tuples(st.just("look")),
    ),
    max_size=60,
)


@given(Steps)
def test_what_was_written_before_the_moment_reached_has_been_handled(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    source, watermark = Input(), Watermark()
    for what, *arguments in steps:
        if what == "look":
            before = watermark.reached
            source.look(watermark)
            assert watermark.reached >= before
        else:
            getattr(source, what)(*arguments)
        late = [at for at in source.written[source.handled :] if at < watermark.reached]
        assert not late


@given(st.lists(st.tuples(Written, Written), min_size=3, max_size=30), st.integers(0, 30))
def test_it_moves_on_with_every_answer_however_fast_the_input_grows(
    fetches: list[tuple[list[int], list[int]]], behind: int
) -> None:
    """Who handles each answer before the next, but for what came last, is never far behind."""
    source, watermark = Input(), Watermark()
    source.write([1] * behind)
    answers = []
    for before, after in fetches:
        source.fetch(before, after)
        answers.append(source.now)
        source.look(watermark)
        source.handle(1_000)
    source.look(watermark)
    assert watermark.reached >= answers[-3]


def test_a_mark_that_is_far_ahead_is_reached_in_the_end_though_more_is_written_all_the_time() -> None:
    watermark = Watermark()
    end = 10_000
    for answer in range(1, 1_000):
        end += 5
        watermark.observe(answer, end, handled=answer * 20)
    assert watermark.reached > 500


def test_nothing_is_reached_without_an_answer() -> None:
    watermark = Watermark()
    watermark.observe(None, None, 0)
    watermark.observe(5, 0, 0)
    watermark.observe(5, 0, 0)
    assert watermark.reached == 0


def test_a_clock_that_goes_back_takes_the_moment_with_it() -> None:
    watermark = Watermark()
    for answered_at in (900, 1_000, 100, 200):
        watermark.observe(answered_at, 0, 0)
    assert watermark.reached == 100
