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
RUN useradd --system --uid 10001 --gid 0 --no-create-home telemetry
COPY --from=build /opt/telemetry /opt/telemetry
# USER: a uid that is not in /etc/passwd has no name, and PostgreSQL asks for one where POSTGRES_URL names nobody.
ENV PATH=/opt/telemetry/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp USER=telemetry
# A number, so that Kubernetes can see that it is not root. Any other uid does too, and nothing is written anywhere.
USER 10001
WORKDIR /opt/telemetry
EXPOSE 8081 9090
# Whether the process lives, not whether its dependencies do: who restarts it would only make an outage longer.
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s --retries=3 CMD ["telemetry", "health"]
# Exec form: the worker is process 1 and gets SIGTERM itself.
ENTRYPOINT ["telemetry"]
CMD ["worker"]
