"""Text of a payload that a quirk rule has corrected, with the flags that say why."""

from __future__ import annotations


class CorrectedText(str):
    """Stands where a timestamp or the unit of a sample stood; ``meant`` is the text to read instead.

    A type of its own, with a text that no table lists: whoever reads payloads meets it only where a look-up
    has failed, so that what no rule has touched costs nothing.
    """

    meant: str
    flags: tuple[str, ...]

    def __new__(cls, meant: str, *flags: str) -> CorrectedText:
        """``meant``, to be read with these flags."""
        self = super().__new__(cls, f"{meant}\0corrected")
        self.meant, self.flags = meant, flags
        return self
