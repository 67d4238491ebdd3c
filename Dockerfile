# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY telemetry_app telemetry_app
COPY faust_redis faust_redis
COPY agents agents
COPY tables tables
COPY migrations migrations
RUN python -m venv /opt/telemetry \
    && /opt/telemetry/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home telemetry
COPY --from=build /opt/telemetry /opt/telemetry
ENV PATH=/opt/telemetry/bin:$PATH PYTHONUNBUFFERED=1
USER telemetry
WORKDIR /tmp
EXPOSE 8081 9090
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('METRICS_PORT', '9090')}/readyz\", timeout=4)"]
# Exec form: the worker is process 1 and gets SIGTERM itself.
ENTRYPOINT ["telemetry"]
CMD ["worker"]
