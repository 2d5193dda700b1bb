"""DescribeCluster: this node is all of it (KIP-700)."""

from __future__ import annotations

from broker.handlers.port import Api, Broker, Fields, Request


def handle(broker: Broker, request: Request) -> Fields:
    del request
    host = broker.config.advertised_host or broker.config.host
    node = broker.config.node_id
    return {
        "error_code": 0,
        "endpoint_type": 1,
        "cluster_id": broker.cluster_id,
        "controller_id": node,
        "brokers": [{"broker_id": node, "host": host, "port": broker.port, "rack": None}],
    }


API = Api(key=60, name="DescribeCluster", min_version=0, max_version=1, handle=handle)
