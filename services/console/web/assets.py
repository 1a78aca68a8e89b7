"""Files that pages load: scripts, styles. Each has its content in its address, so that browsers keep it for good."""

from hashlib import sha256
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER: Final = Path(__file__).resolve().parents[1] / "assets"

_KINDS: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FOR_GOOD: Final = {"Cache-Control": "public, max-age=31536000, immutable"}
_DIGITS: Final = 16


class Assets:
    """The files of FOLDER, read once."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[str, bytes, str]] = {}
        for path in sorted(FOLDER.rglob("*")):
            if path.suffix in _KINDS:
                content = path.read_bytes()
                name = path.relative_to(FOLDER).as_posix()
                self._files[name] = (sha256(content).hexdigest()[:_DIGITS], content, _KINDS[path.suffix])

    def url(self, name: str) -> str:
        """Where the file is; KeyError if there is none."""
        return f"/assets/{self._files[name][0]}/{name}"

    def route(self) -> Route:
        """Serves them, to anybody."""
        return Route("/assets/{digest}/{name:path}", self._serve)

    async def _serve(self, request: Request) -> Response:
        known = self._files.get(request.path_params["name"])
        if known is None or known[0] != request.path_params["digest"]:
            return Response("there is no such file", 404, media_type="text/plain")
        return Response(known[1], media_type=known[2], headers=_FOR_GOOD)
