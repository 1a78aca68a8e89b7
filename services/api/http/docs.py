"""The page that shows the OpenAPI document, from files of this installation: a browser fetches nothing elsewhere."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import FileResponse
from starlette.routing import Route

_FILES: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data:",
    )
)


def docs_routes(page: str, openapi: str, title: str) -> list[Route]:
    """The page at path `page` that shows the document at path `openapi`, and below it the files that it needs."""
    html = get_swagger_ui_html(
        openapi_url=openapi,
        title=title,
        swagger_js_url=f"{page}/swagger-ui-bundle.js",
        swagger_css_url=f"{page}/swagger-ui.css",
        swagger_favicon_url=f"{page}/favicon.png",
        # Its default sends the address of the document to a server of the makers.
        swagger_ui_parameters={"validatorUrl": None},
    )
    html.headers["Content-Security-Policy"] = _POLICY

    async def show(_: Request) -> Response:
        return html

    def file(path: Path) -> Route:
        async def send(_: Request) -> Response:
            return FileResponse(path)

        return Route(f"{page}/{path.name}", send)

    folder = Path(str(files("fastapi_offline"))) / "static"
    return [Route(page, show), *(file(folder / name) for name in _FILES)]
