"""FindCoordinator: this node coordinates all groups and all transactional ids."""

from __future__ import annotations

from typing import Any

from broker.handlers.port import Api, Broker, Fields, Request, field
from broker.protocol.errors import ErrorCode

GROUP, TRANSACTION = 0, 1


def handle(broker: Broker, request: Request) -> Fields:
    """One key before version 4, any number since; nothing is looked up."""
    body = request.body
    known = field(body, "key_type", GROUP) in (GROUP, TRANSACTION)
    error = ErrorCode.none if known else ErrorCode.invalid_request
    node = {
        "node_id": broker.config.node_id if known else -1,
        "host": (broker.config.advertised_host or broker.config.host) if known else "",
        "port": broker.port if known else -1,
        "error_code": error,
        "error_message": None if known else "key_type is 0 (group) or 1 (transaction)",
    }
    if request.version < 4:
        return node
    return {"coordinators": [{"key": key, **node} for key in body.coordinator_keys]}


def failure(body: Any) -> Fields:
    """The answer if the broker fails, in both forms."""
    error = ErrorCode.unknown_server_error
    keys = field(body, "coordinator_keys", ())
    return {
        "error_code": error,
        "coordinators": [{"key": key, "error_code": error} for key in keys],
    }


API = Api(
    key=10, name="FindCoordinator", min_version=0, max_version=4, handle=handle, failure=failure
)
