# tsheadroom as a container: a node of the tailnet, no published port, no privilege.
#
# What was checked without a container engine: tests/test_packaging.py holds that every file copied
# exists, that the commands run are the package's own with options that it knows, and that compose.yaml
# agrees with this file. The steps themselves are those of `pipx install .` on a bare machine.

FROM python:3.11-slim-bookworm AS build
# The native library is C for the loader and Go for the rest; the Go toolchain itself comes as a
# build dependency of the package.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml hatch_build.py requirements.lock README.md LICENSE ./
COPY tsheadroom ./tsheadroom
# The versions that the tests ran with; without hashes, which pip refuses beside a local project.
RUN sed -n 's/^\([A-Za-z0-9._-]*==[^ ]*\).*$/\1/p' requirements.lock > constraints.txt \
    && python -m venv /opt/tsheadroom \
    && /opt/tsheadroom/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim-bookworm
COPY --from=build /opt/tsheadroom /opt/tsheadroom
# A fixed user, so that a volume made by one image serves the next.
RUN groupadd --gid 65532 tsheadroom \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /var/lib/tsheadroom tsheadroom \
    && install --directory --mode 0700 --owner 65532 --group 65532 /var/lib/tsheadroom
USER 65532:65532
# The settings file lives in the state volume: it is replaced as a whole, so its directory must be
# writable.
ENV TSHEADROOM_STATE_DIR=/var/lib/tsheadroom \
    TSHEADROOM_CONFIG=/var/lib/tsheadroom/tsheadroom.config.json \
    PYTHONDONTWRITEBYTECODE=1
VOLUME /var/lib/tsheadroom
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/opt/tsheadroom/bin/tsheadroom", "status", "--live"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/tsheadroom/bin/tsheadroom"]
CMD ["serve", "--verbose"]
