"""The console's settings."""

from pydantic import Field

from services.api.settings import OperatorSettings


class ConsoleSettings(OperatorSettings):
    """Read from `VOLTBUS_<FIELD>`."""

    console_host: str = Field(default="127.0.0.1", description="Address of the console.")
    console_port: int = Field(default=8090, ge=0, le=65535, description="Port of the console.")
    console_url: str = Field(
        default="",
        pattern=r"^(https?://[^/?#\s]+)?$",
        description="Address that browsers know, such as `https://voltbus.example.org`; the OpenID provider leads back "
        "there. Default: `http://localhost` and the port.",
    )
    console_proxies: str = Field(
        default="",
        description="Networks of proxies in front, such as `10.0.0.0/8`; their X-Forwarded-For is believed.",
    )
    stream_clients: int = Field(
        default=1000, ge=1, description="Concurrent event streams of the console: one for each browser."
    )
    stream_clients_per_address: int = Field(
        default=200, ge=1, description="Concurrent event streams of the console from one address."
    )
    console_connections: int = Field(
        default=4096, ge=8, description="Open connections; fewer if descriptors would run out."
    )

    @property
    def callback(self) -> str:
        """Where the OpenID provider leads back to."""
        return f"{self.console_url or f'http://localhost:{self.console_port}'}/sign-in/callback"
