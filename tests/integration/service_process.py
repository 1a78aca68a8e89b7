"""A service as a process of its own, to be killed."""

from __future__ import annotations

import subprocess

from libs.bus.settings import BusSettings
from libs.devstack.endpoints import free_ports
from libs.devstack.process import answers_ok
from tests.integration.children import environment, python, text_at
from tests.patience import WAIT_S


class ServiceProcess:
    """One `python -m services.<name>` on the bus of a test."""

    def __init__(self, name: str, bus: BusSettings, **settings: object) -> None:
        self.name = name
        (self._port,) = free_ports(1)
        self._environment = environment(
            bus.model_dump(include=set(BusSettings.model_fields))
            | {"http_port": self._port, "log_level": "WARNING"}
            | settings
        )
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._process = subprocess.Popen(python("-m", f"services.{self.name}"), env=self._environment)

    def is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"{self.name} ended with status {self._process.returncode}"
        return answers_ok(f"http://127.0.0.1:{self._port}/health/ready")

    def metrics(self) -> str:
        return text_at(f"http://127.0.0.1:{self._port}/metrics")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end; its exit status. Kills it if it does not."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
