"""How far an input has been handled in time, by what brokers say of its end."""


class Watermark:
    """Up to which moment everything that was written to one input partition has been handled.

    Every answer to a fetch says where the partition ended. The fetch was sent after the answer before it had come, so
    what was written until then lies below that end: when everything below it has been handled, that moment is reached.
    One such mark waits at a time. So the moment moves on however fast the partition grows, if it is read faster.

    `reached`: that moment, microseconds of this machine's clock; 0 at first.
    """

    def __init__(self) -> None:
        self.reached = 0
        self._answered_at: int | None = None
        self._mark: tuple[int, int] | None = None

    def observe(self, answered_at: int | None, end: int | None, handled: int) -> None:
        """Look where things are, as often as you like.

        `answered_at`, `end`: when the last answer came (microseconds) and where the partition ended in it, None before
        the first. `handled`: the next offset that has not been handled.
        """
        if answered_at is not None and end is not None and answered_at != self._answered_at:
            if self._mark is None and self._answered_at is not None:
                self._mark = self._answered_at, end
            self._answered_at = answered_at
        if self._mark is not None and handled >= self._mark[1]:
            self.reached, self._mark = self._mark[0], None
