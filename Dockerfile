# One image for every process of tidemill but the store and Apache Kafka, which have their own.
#
#   docker compose build

FROM python:3.11.13-slim-bookworm AS build

WORKDIR /src
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN pip install uv==0.13.8 && python -m venv /opt/tidemill
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY broker broker
COPY metric_registry metric_registry
COPY streams streams
COPY topologies topologies
COPY tidemill tidemill
# The versions of the lock, compiled to bytecode: later nobody may write here. Without the extra for
# the embedded store, which is a server here.
RUN uv pip install --no-cache --compile-bytecode --python /opt/tidemill/bin/python --constraint requirements.lock .

FROM python:3.11.13-slim-bookworm

RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin tidemill \
 && mkdir -p /var/lib/tidemill /home/tidemill/.cache/tidemill \
 && chown -R 10001:10001 /var/lib/tidemill /home/tidemill
COPY --from=build /opt/tidemill /opt/tidemill
ENV PATH=/opt/tidemill/bin:$PATH HOME=/home/tidemill \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
WORKDIR /var/lib/tidemill
# Compiled for the processor that builds; another one compiles them anew, into its volume.
RUN tidemill warm --quiet
VOLUME ["/var/lib/tidemill"]
ENTRYPOINT ["tidemill"]
CMD ["--help"]
