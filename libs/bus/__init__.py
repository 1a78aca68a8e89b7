"""Kafka: topics, producer, consumers, tables, dead letters and the processor runtimes.

The only package that imports aiokafka or faust.
"""
