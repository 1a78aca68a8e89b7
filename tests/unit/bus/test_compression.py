"""The level of compression, which aiokafka has no setting for."""

from aiokafka import codec
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from libs.bus import compression
from libs.bus.settings import BusSettings


def built(value: bytes) -> bytes:
    builder = DefaultRecordBatchBuilder(2, 3, 0, -1, -1, 0, 1 << 20)
    builder.append(0, 0, b"key", value, [])
    return bytes(builder.build())


def test_batches_are_compressed_at_the_level_that_we_set() -> None:
    value = b"".join(number.to_bytes(2, "big") * 3 + b"energy" for number in range(5_000))
    ours = built(value)
    codec.lz4_encode.__defaults__ = (9,)
    try:
        hardest = built(value)
    finally:
        codec.lz4_encode.__defaults__ = (compression.LZ4_LEVEL,)
    assert len(hardest) < len(ours) < len(value)


def test_no_compression_is_none() -> None:
    assert compression.compression_type(BusSettings(compression="none")) is None
    assert compression.compression_type(BusSettings(compression="lz4")) == "lz4"
