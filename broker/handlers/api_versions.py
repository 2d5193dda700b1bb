"""ApiVersions: which request kinds and versions are answered (KIP-35, KIP-511)."""

from __future__ import annotations

from broker.handlers.port import Api, Broker, Fields, Request

PRODUCE = 0


def supported(apis: list[Api]) -> list[dict[str, int]]:
    """What clients are told. Produce is told from version 0, as Kafka 4 does: from 3, librdkafka
    before 2.11 silently stops compressing (KAFKA-18659)."""
    return [
        {
            "api_key": api.key,
            "min_version": 0 if api.key == PRODUCE else api.min_version,
            "max_version": api.max_version,
        }
        for api in sorted(apis, key=lambda api: api.key)
    ]


def handle(broker: Broker, request: Request) -> Fields:
    del request
    return {"error_code": 0, "api_keys": supported(broker.apis)}


API = Api(key=18, name="ApiVersions", min_version=0, max_version=3, handle=handle)
