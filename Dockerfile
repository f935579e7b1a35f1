# syntax=docker/dockerfile:1
# docker build -t poolguard .        then: docker run --rm poolguard --version

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY poolguard poolguard
# Wheels of poolguard and of what it needs to run; the second step may take nothing else.
RUN pip wheel --wheel-dir /wheels .
# pip compiles to bytecode here: the image's root file system is read-only when it runs.
RUN python -m venv --without-pip /opt/poolguard \
    && pip --python /opt/poolguard/bin/python install --no-index --find-links /wheels poolguard

FROM python:${PYTHON}-slim
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="poolguard" \
      org.opencontainers.image.description="A sidecar between an application and PostgreSQL" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /opt/poolguard /opt/poolguard
ENV PATH=/opt/poolguard/bin:$PATH \
    HOME=/nonexistent \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# A number, so that runAsNonRoot can be checked without the image's passwd.
USER 65532:65532
WORKDIR /
# Clients, leases and admin, metrics and probes. The first two listen on loopback unless the settings say otherwise.
EXPOSE 6432 6433 9127
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["poolguard", "health"]
ENTRYPOINT ["poolguard"]
CMD ["run"]
