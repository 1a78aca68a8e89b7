"""What goes wrong in the local stack."""


class StackError(Exception):
    """A part could not be downloaded, started or reached; the message says which and why."""
