"""The same FastAPI application on Ray Serve: replicas, autoscaling, rolling update.

Each replica runs `rag_helpers.deployment.create_app` unchanged, with a queue, a
thread and a pipeline of its own, so limits count per replica. Serve starts a new
replica in place of one that died or reports itself unwell, and sends requests to
those that are ready. A request that was inside a replica when it died is lost;
asking again is safe, since an answer changes nothing, and `ask` does so.

The module does not know how a question is answered.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rag_helpers.deployment import ServiceSettings, UnavailableError, create_app, load_settings
from rag_helpers.errors import InvalidInputError, ScalingError
from rag_helpers.pipeline import RagPipeline
from rag_helpers.scaling.engines import import_part, import_ray

__all__ = ["Reply", "ask", "serve_on_ray", "stop_serving"]

APPLICATION = "rag"


def serve_on_ray(
    load: Callable[[], RagPipeline],
    settings: ServiceSettings | None = None,
    *,
    replicas: int | tuple[int, int] = 2,
    cpus_per_replica: float = 1,
    per_node: int | None = None,
    ready_s: float = 300.0,
) -> str:
    """Serve a pipeline on the connected cluster; called again, replace it without a gap.

    Called again, Serve starts new replicas and ends the old ones, one after the other.

    Parameters
    ----------
    load : callable
        Returns the pipeline; called once in each replica, before it takes requests.
    settings : ServiceSettings, optional
        As for `create_app`. ``host`` and ``port`` are where Serve's proxy listens.
    replicas : int or tuple of int
        How many, or the fewest and most that Serve may choose between by how many
        requests wait.
    cpus_per_replica : float
        What Ray sets aside for each.
    per_node : int, optional
        Most replicas on one node, so that the loss of one leaves others.
    ready_s : float
        Longest wait until all replicas are ready, in seconds.

    Returns
    -------
    str
        The address, such as ``"http://127.0.0.1:8000"``.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    InvalidInputError
        If no cluster is connected, or a number is out of range.
    ScalingError
        If the replicas are not ready in time, or fail.
    """
    ray = import_ray()
    if not ray.is_initialized():
        raise InvalidInputError(
            "This process is connected to no Ray cluster: call connect(address), or LocalCluster() "
            "for one on this machine."
        )
    chosen = settings or load_settings()
    fewest, most = (replicas, replicas) if isinstance(replicas, int) else replicas
    if not 1 <= fewest <= most:
        raise InvalidInputError(
            f"replicas is {replicas}: give a number from 1 up, or the fewest and the most."
        )
    serve = import_part("serve")
    serve.start(
        proxy_location="HeadOnly",
        http_options={"host": chosen.host, "port": chosen.port, "request_timeout_s": None},
    )
    deployment = serve.deployment(serve.ingress(_builder(load, chosen))(_Replica)).options(
        name="service",
        ray_actor_options={"num_cpus": cpus_per_replica},
        # Serve itself queues nothing: the application answers 429 by its own queue.
        max_ongoing_requests=max(100, 2 * chosen.queue_size),
        max_replicas_per_node=per_node,
        health_check_period_s=2,
        health_check_timeout_s=10,
        graceful_shutdown_timeout_s=chosen.drain_s,
        **(
            {"num_replicas": fewest}
            if fewest == most
            else {
                "autoscaling_config": {
                    "min_replicas": fewest,
                    "max_replicas": most,
                    "target_ongoing_requests": chosen.batch_size,
                }
            }
        ),
    )
    serve.run_many(
        [serve.RunTarget(deployment.bind(), name=APPLICATION, route_prefix="/")],
        wait_for_applications_running=False,
    )
    _wait_until_ready(serve, fewest, ready_s)
    return f"http://{chosen.host}:{chosen.port}"


class _Replica:
    """What Serve calls a deployment; the application does the work."""

    def check_health(self) -> None:
        """Raise when a new replica would help."""
        worker = getattr(self.app.state, "worker", None)  # type: ignore[attr-defined]
        if worker is not None and worker.state in ("failed", "stalled"):
            raise UnavailableError(f"The worker is {worker.state}.")


def _builder(load: Callable[[], RagPipeline], settings: ServiceSettings) -> Callable[[], Any]:
    def build() -> Any:  # noqa: ANN401 (an ASGI application)
        # Loaded here and not in the worker's thread: until this returns, Serve sends no requests.
        pipeline = load()
        return create_app(lambda: pipeline, settings)

    return build


def _wait_until_ready(serve: Any, fewest: int, ready_s: float) -> None:  # noqa: ANN401 (untyped)
    deadline = time.monotonic() + ready_s
    while True:
        found = serve.status().applications.get(APPLICATION)
        status = "absent" if found is None else str(found.status.value)
        running = 0
        if found is not None:
            running = sum(
                one.replica_states.get("RUNNING", 0) for one in found.deployments.values()
            )
        if status == "RUNNING" and running >= fewest:
            return
        if status == "DEPLOY_FAILED" or time.monotonic() > deadline:
            said = "" if found is None else found.message.strip().splitlines()
            raise ScalingError(
                f"The service is {status} with {running} of {fewest} replicas after at most "
                f"{ready_s:g} seconds ({said[-1][:300] if said else 'no reason given'}): load the "
                "pipeline without the cluster to see why, or give the cluster more CPUs."
            )
        time.sleep(0.2)


def stop_serving(*, timeout_s: float = 60.0) -> None:
    """Stop the service; running questions end first.

    Returns when the last of Serve's processes has ended. Serve itself returns earlier, and a
    service that is started then is taken down with the old one.

    Parameters
    ----------
    timeout_s : float
        Longest wait for that, in seconds.

    Raises
    ------
    ScalingError
        If something of it still runs.
    """
    import_part("serve").shutdown()
    deadline = time.monotonic() + timeout_s
    while left := _parts_of_serve():
        if time.monotonic() > deadline:
            raise ScalingError(
                f"{left[0]} of Ray Serve still runs after {timeout_s:g} seconds: wait, or stop the "
                "cluster."
            )
        time.sleep(0.1)


def _parts_of_serve() -> list[str]:
    named = import_ray().util.list_named_actors(all_namespaces=True)
    return [one["name"] for one in named if one["namespace"] == "serve"]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer from the service.

    Parameters
    ----------
    message : dict
        As ``POST /v1/answers`` gives it.
    tries : int
        How often it was asked, from 1.
    seconds : float
        From the first try to the answer.
    """

    message: dict[str, Any]
    tries: int
    seconds: float


def ask(url: str, question: str, *, key: str = "", timeout_s: float = 60.0, **more: Any) -> Reply:  # noqa: ANN401 (JSON)
    """Ask the service, again where a replica died or none had room.

    Parameters
    ----------
    url : str
        The service's address.
    question : str
    key : str
        Its key, where it has one.
    timeout_s : float
        Seconds after which no further try is made.
    **more
        Further fields of the request, such as ``k``.

    Returns
    -------
    Reply

    Raises
    ------
    InvalidInputError
        If the service refuses the question itself.
    ScalingError
        If no answer came in time.
    """
    body = json.dumps({"question": question, **more}).encode()
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(f"{url}/v1/answers", body, headers)  # noqa: S310 (their own URL)
    began, tries, wait = time.monotonic(), 0, 0.1
    while True:
        tries += 1
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as reply:  # noqa: S310
                return Reply(json.load(reply), tries, time.monotonic() - began)
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode("utf-8", "replace").strip()
            if error.code < 500 and error.code not in (408, 429):
                raise InvalidInputError(
                    f"The service answered {error.code}: {said[:300]}"
                ) from error
            reason = f"status {error.code}"
        except (OSError, http.client.HTTPException) as error:
            reason = f"{type(error).__name__}: {error}"
        if time.monotonic() - began + wait > timeout_s:
            raise ScalingError(
                f"No answer from {url} after {tries} tries in {timeout_s:g} seconds (last: "
                f"{reason}): see whether the service runs and has replicas."
            )
        time.sleep(wait)
        wait = min(2 * wait, 2.0)
