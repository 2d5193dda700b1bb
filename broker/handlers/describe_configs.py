"""DescribeConfigs of topics and of the broker."""

from __future__ import annotations

from typing import Any

from broker.controller.topic_config import DOUBLE, LONG, STRING, TOPIC_CONFIGS
from broker.controller.topics import Topic
from broker.handlers.port import Api, Broker, Fields, Request, field
from broker.protocol.errors import ErrorCode

TOPIC, BROKER = 2, 4
OF_TOPIC, OF_BROKER, DEFAULT = 1, 4, 5
"""Where a value comes from: set on the topic, given to the broker, built in."""


def handle(broker: Broker, request: Request) -> Fields:
    explain = bool(field(request.body, "include_documentation", False))
    return {"results": [_describe(broker, item, explain) for item in request.body.resources]}


def _describe(broker: Broker, item: Any, explain: bool) -> Fields:
    kind, name = item.resource_type, item.resource_name
    answer: dict[str, Any] = {"resource_type": kind, "resource_name": name, "error_code": 0}
    if kind == TOPIC and name in broker.catalog.topics:
        configs = _topic_configs(broker, broker.catalog.topics[name], explain)
    elif kind == TOPIC:
        return answer | {
            "error_code": ErrorCode.unknown_topic_or_partition,
            "error_message": f"no topic {name!r}",
        }
    elif kind == BROKER and name in ("", str(broker.config.node_id)):
        configs = _broker_configs(broker)
    else:
        return answer | {
            "error_code": ErrorCode.invalid_request,
            "error_message": f"this is broker {broker.config.node_id}; topics and it have settings",
        }
    wanted = item.configuration_keys
    if wanted is not None:
        configs = [config for config in configs if config["name"] in wanted]
    return answer | {"configs": configs}


def _topic_configs(broker: Broker, topic: Topic, explain: bool) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "value": topic.configs.get(name) or config.default(broker.catalog.defaults),
            "read_only": False,
            "is_default": name not in topic.configs,
            "config_source": OF_TOPIC if name in topic.configs else DEFAULT,
            "config_type": config.type,
            "documentation": config.documentation if explain else None,
        }
        for name, config in TOPIC_CONFIGS.items()
    ]


def _broker_configs(broker: Broker) -> list[dict[str, Any]]:
    config = broker.config
    values = [
        ("node.id", str(config.node_id), LONG),
        ("auto.create.topics.enable", str(config.auto_create_topics).lower(), STRING),
        ("num.partitions", str(config.default_partitions), LONG),
        ("log.retention.ms", str(config.log.retention_ms), LONG),
        ("log.segment.bytes", str(config.log.segment_bytes), LONG),
        ("message.max.bytes", str(config.log.max_message_bytes), LONG),
        ("socket.request.max.bytes", str(config.max_request_bytes), LONG),
        ("log.cleaner.backoff.ms", str(config.cleaner_interval_ms), LONG),
        ("log.cleaner.dedupe.buffer.size", str(config.cleaner_map_bytes), LONG),
        ("tidemill.cleaner.share", str(config.cleaner_share), DOUBLE),
        ("tidemill.fsync", config.fsync, STRING),
    ]
    return [
        {
            "name": name,
            "value": value,
            "read_only": True,
            "config_source": OF_BROKER,
            "config_type": type_,
        }
        for name, value, type_ in values
    ]


def failure(body: Any) -> Fields:
    error = ErrorCode.unknown_server_error
    return {
        "results": [
            {
                "resource_type": item.resource_type,
                "resource_name": item.resource_name,
                "error_code": error,
            }
            for item in body.resources
        ]
    }


API = Api(
    key=32, name="DescribeConfigs", min_version=1, max_version=4, handle=handle, failure=failure
)
