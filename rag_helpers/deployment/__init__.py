"""Step 7: the pipeline behind a REST API that stays upright.

`create_app` makes the FastAPI application, `serve` runs it until stopped, and
`BackgroundServer` runs it beside a notebook. One thread owns the models; a
bounded queue stands in front of it.

The package does not know how a question is answered.
"""

from __future__ import annotations

from rag_helpers.errors import MissingExtraError

try:
    from rag_helpers.deployment.app import create_app
    from rag_helpers.deployment.server import BackgroundServer, serve
    from rag_helpers.deployment.settings import ServiceSettings, load_settings
    from rag_helpers.deployment.worker import OverloadError, UnavailableError, Worker
except ImportError as error:
    if error.name is None or error.name.startswith("rag_helpers"):
        raise
    raise MissingExtraError(
        f"The service needs {error.name}, which is not installed: run "
        "pip install 'rag-helpers[serve]', or pip install fastapi prometheus-client "
        "pydantic-settings uvicorn."
    ) from error

__all__ = [
    "BackgroundServer",
    "OverloadError",
    "ServiceSettings",
    "UnavailableError",
    "Worker",
    "create_app",
    "load_settings",
    "serve",
]
