"""How records are compressed on their way to Kafka."""

from typing import Final

from aiokafka import codec

from libs.bus.settings import BusSettings

LZ4_LEVEL: Final = 1
"""aiokafka compresses as hard as it can (9), which takes up to twenty times as long, for a tenth less."""

# It offers no setting for it, and hands the level nowhere on.
codec.lz4_encode.__defaults__ = (LZ4_LEVEL,)


def compression_type(settings: BusSettings) -> str | None:
    """What aiokafka calls the compression that the settings ask for."""
    return None if settings.compression == "none" else settings.compression
