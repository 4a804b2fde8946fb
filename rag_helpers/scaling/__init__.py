"""Step 7, past one machine: the same records and steps on Ray and Milvus.

`ingest` brings documents into Parquet shards and a `MilvusIndex` on as many nodes
as there are; `build_milvus_retriever` searches there with the course's own
retrievers; `serve_on_ray` runs the course's own application in replicas;
`plan_capacity` says on paper what a corpus takes. `LocalCluster` and
`LocalMilvus` imitate a cluster on one machine.

Existing engines do the work: nothing distributed is written here. Importing the
package needs neither; what uses them says how to install them.
"""

from __future__ import annotations

from rag_helpers.scaling.capacity import (
    INDEX_KINDS,
    Capacity,
    Node,
    Prices,
    Rates,
    load_measured,
    load_rates,
    plan_capacity,
    vector_bytes,
)
from rag_helpers.scaling.cluster import LocalCluster, LocalMilvus
from rag_helpers.scaling.comparing import SyntheticEmbedder, same_hits
from rag_helpers.scaling.demo import run_demo
from rag_helpers.scaling.engines import SCALE_PACKAGES, check_versions, connect
from rag_helpers.scaling.ingestion import IngestReport, ingest
from rag_helpers.scaling.milvus import MilvusIndex
from rag_helpers.scaling.retrieving import MilvusKeywordRetriever, build_milvus_retriever
from rag_helpers.scaling.serving import ask, serve_on_ray, stop_serving
from rag_helpers.scaling.sources import DocumentSource, FileSource, Part, SyntheticSource

__all__ = [
    "INDEX_KINDS",
    "SCALE_PACKAGES",
    "Capacity",
    "DocumentSource",
    "FileSource",
    "IngestReport",
    "LocalCluster",
    "LocalMilvus",
    "MilvusIndex",
    "MilvusKeywordRetriever",
    "Node",
    "Part",
    "Prices",
    "Rates",
    "SyntheticEmbedder",
    "SyntheticSource",
    "ask",
    "build_milvus_retriever",
    "check_versions",
    "connect",
    "ingest",
    "load_measured",
    "load_rates",
    "plan_capacity",
    "run_demo",
    "same_hits",
    "serve_on_ray",
    "stop_serving",
    "vector_bytes",
]
