"""The coordinators of a node: name -> factory."""

from __future__ import annotations

from collections.abc import Callable

from broker.coordination import Coordinator, Services
from broker.groups.config import GroupConfig
from broker.groups.coordinator import GroupCoordinator
from broker.transactions.config import TransactionConfig
from broker.transactions.coordinator import TransactionCoordinator

COORDINATORS: dict[str, Callable[[Services], Coordinator]] = {
    "groups": lambda services: GroupCoordinator(GroupConfig()),
    "transactions": lambda services: TransactionCoordinator(TransactionConfig(), services),
}
