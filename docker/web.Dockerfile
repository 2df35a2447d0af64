# The web, the workers without an accelerator and the scheduler. No torch. Build from the root of the repository:
#   docker build --file docker/web.Dockerfile --tag rankloop-web .
FROM python:3.13-slim-bookworm AS build
WORKDIR /app
RUN python -m venv /opt/venv
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install --disable-pip-version-check -c requirements.lock -e .

FROM python:3.13-slim-bookworm
RUN useradd --uid 10001 --create-home rankloop && install --directory --owner rankloop /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    RANKLOOP_HOME=/data \
    RANKLOOP_BIND=0.0.0.0 \
    RANKLOOP_PORT=8000
USER 10001
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/', timeout=4)"]
CMD ["gunicorn", "config.wsgi", "--config", "python:config.gunicorn"]
