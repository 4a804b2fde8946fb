"""The service's settings: from arguments, else from variables named ``RAG_…``, else the defaults.

The module knows nothing of models or requests.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from rag_helpers.errors import InvalidInputError

__all__ = ["ServiceSettings", "load_settings"]


class ServiceSettings(BaseSettings):
    """What the service may use, and where it listens; build it with `load_settings`.

    Parameters
    ----------
    host : str
        Address to listen on. Any other than this machine's own needs a key.
    port : int
        Port to listen on.
    api_key : SecretStr or None
        What every request must carry; at least 16 characters.
    corpus, index : str or None
        Folder of documents, or a saved index; by default the Python help topics.
    retriever, generator : str or None
        As `rag_helpers.pipeline.load_pipeline` takes them; None leaves the choice to it.
    k : int or None
        Passages per question where a request does not say.
    queue_size : int
        Questions that may wait; the next one is answered by 429.
    batch_size : int
        Questions that are generated together, when as many wait.
    timeout_s : float
        Longest wait for an answer in seconds; then 503.
    drain_s : float
        Seconds that running and waiting questions get when the service stops.
    max_body_bytes : int
        Longest request body; a longer one is answered by 413.
    rate_per_minute : int or None
        Questions that a client may ask in a minute; then 429. Clients are told by
        their address, behind a proxy on this machine by the one that it forwards.
        None sets no limit.
    read_ahead_mb : float
        Most that the tuned reader keeps in the cache folder of what it has read of
        passages, so that each is read once (`rag_helpers.generator.ReadAhead`); in units
        of 10⁶ bytes, and 0 keeps nothing.
    """

    model_config = SettingsConfigDict(env_prefix="RAG_", env_ignore_empty=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    api_key: SecretStr | None = Field(default=None, min_length=16)
    corpus: str | None = None
    index: str | None = None
    retriever: str | None = None
    generator: str | None = None
    k: int | None = Field(default=None, ge=1, le=20)
    queue_size: int = Field(default=32, ge=1, le=10_000)
    batch_size: int = Field(default=8, ge=1, le=256)
    timeout_s: float = Field(default=60.0, gt=0, le=3600)
    drain_s: float = Field(default=30.0, ge=0, le=3600)
    max_body_bytes: int = Field(default=65_536, ge=1024, le=16_777_216)
    rate_per_minute: int | None = Field(default=None, ge=1, le=1_000_000)
    read_ahead_mb: float = Field(default=0.0, ge=0, le=1e6)

    @property
    def is_local(self) -> bool:
        """Whether only programs on this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def load_settings(**given: Any) -> ServiceSettings:  # noqa: ANN401 (fields have types of their own)
    """Return settings, checked together.

    Parameters
    ----------
    **given
        Fields of `ServiceSettings`; they win over the environment.

    Returns
    -------
    ServiceSettings

    Raises
    ------
    InvalidInputError
        If a value is out of range, or the service would be reachable from
        other machines without a key.

    Examples
    --------
    >>> load_settings(port=8080).host
    '127.0.0.1'
    >>> load_settings(host="0.0.0.0", api_key=None)
    Traceback (most recent call last):
    rag_helpers.errors.InvalidInputError: host is '0.0.0.0', which other machines can reach, and \
there is no key: set RAG_API_KEY to at least 16 characters, or listen on 127.0.0.1.
    """
    try:
        settings = ServiceSettings(**given)
    except ValidationError as error:
        # The value itself is left out: it may be the key.
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
        )
        raise InvalidInputError(
            f"The service's settings are wrong ({faults}); change the argument, or the variable "
            "RAG_ and the name in capitals."
        ) from None
    if settings.api_key is None and not settings.is_local:
        raise InvalidInputError(
            f"host is {settings.host!r}, which other machines can reach, and there is no key: "
            "set RAG_API_KEY to at least 16 characters, or listen on 127.0.0.1."
        )
    if settings.corpus is not None and settings.index is not None:
        raise InvalidInputError(
            f"corpus is {settings.corpus!r} and index is {settings.index!r}: give only one of them."
        )
    return settings
