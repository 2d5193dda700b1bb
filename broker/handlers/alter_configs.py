"""AlterConfigs and IncrementalAlterConfigs of topics."""

from __future__ import annotations

from typing import Any

from broker.controller.topic_config import LIST, TOPIC_CONFIGS
from broker.controller.topics import ConfigChange
from broker.handlers.port import Api, Broker, Fields, Request
from broker.protocol.errors import ErrorCode
from broker.records.batch import Refusal

TOPIC = 2
SET, DELETE, APPEND, SUBTRACT = 0, 1, 2, 3


def handle(broker: Broker, request: Request) -> Fields:
    return _all(broker, request, incremental=False)


def handle_incremental(broker: Broker, request: Request) -> Fields:
    return _all(broker, request, incremental=True)


def _all(broker: Broker, request: Request, *, incremental: bool) -> Fields:
    body = request.body
    return {
        "responses": [
            _answer(item, _alter(broker, item, body.validate_only, incremental))
            for item in body.resources
        ]
    }


def _alter(broker: Broker, item: Any, check_only: bool, incremental: bool) -> Refusal | None:
    if item.resource_type != TOPIC:
        return Refusal(ErrorCode.invalid_request, "only topics' settings can be changed")
    name, catalog = item.resource_name, broker.catalog
    changes: list[ConfigChange] = []
    for config in item.configs:
        change = ConfigChange(config.name, config.value)
        if incremental and name in catalog.topics:
            found = _incremental(broker, name, config)
            if isinstance(found, Refusal):
                return found
            change = found
        changes.append(change)
    refusal = catalog.check_alter(name, changes, all_of_them=not incremental)
    if refusal is None and not check_only:
        refusal = broker.change_topics(
            lambda: catalog.alter(name, changes, all_of_them=not incremental)
        )
    return refusal


def _incremental(broker: Broker, name: str, config: Any) -> ConfigChange | Refusal:
    operation = config.config_operation
    if operation == SET:
        return ConfigChange(config.name, config.value)
    if operation == DELETE:
        return ConfigChange(config.name, None)
    known = TOPIC_CONFIGS.get(config.name)
    if known is None or known.type != LIST or operation not in (APPEND, SUBTRACT):
        return Refusal(ErrorCode.invalid_config, f"{config.name!r} is not a list to add to")
    catalog = broker.catalog
    current = catalog.topics[name].configs.get(config.name) or known.default(catalog.defaults)
    parts = [part for part in current.split(",") if part]
    given = [part for part in (config.value or "").split(",") if part]
    if operation == APPEND:
        parts += [part for part in given if part not in parts]
    else:
        parts = [part for part in parts if part not in given]
    return ConfigChange(config.name, ",".join(parts))


def _answer(item: Any, refusal: Refusal | None) -> Fields:
    return {
        "error_code": 0 if refusal is None else refusal.error,
        "error_message": None if refusal is None else refusal.message,
        "resource_type": item.resource_type,
        "resource_name": item.resource_name,
    }


def failure(body: Any) -> Fields:
    refusal = Refusal(ErrorCode.unknown_server_error, "the broker failed, see its log")
    return {"responses": [_answer(item, refusal) for item in body.resources]}


API = Api(key=33, name="AlterConfigs", min_version=0, max_version=2, handle=handle, failure=failure)
INCREMENTAL_API = Api(
    key=44,
    name="IncrementalAlterConfigs",
    min_version=0,
    max_version=1,
    handle=handle_incremental,
    failure=failure,
)
