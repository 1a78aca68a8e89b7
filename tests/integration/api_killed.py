"""An API process that kills itself at one of its writes: `python -m tests.integration.api_killed MOMENT NUMBER`.

MOMENT `before`: the NUMBERth write is with the broker, uncommitted; `after`: it is committed, and nobody was told.
"""

import itertools
import os
import signal
import sys
from typing import Any

from aiokafka import AIOKafkaProducer

from services.api.__main__ import run

_MOMENT, _NUMBER = sys.argv[1], int(sys.argv[2])
_writes = itertools.count(1)
_commit = AIOKafkaProducer.commit_transaction


async def commit(self: AIOKafkaProducer) -> Any:
    last = next(_writes) == _NUMBER
    if last and _MOMENT == "before":
        await self._message_accumulator.flush_for_commit()
    else:
        await _commit(self)
    if last:
        os.kill(os.getpid(), signal.SIGKILL)


AIOKafkaProducer.commit_transaction = commit
run()
