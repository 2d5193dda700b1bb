"""Run a topology's tasks without a broker: an in-memory transactional log and a driver.

    log = MemoryLog({"orders": 1, "totals": 1})
    driver = TaskDriver(log, Topology("totals", make_processor, topics=("orders",)), "orders", 0)
    log.append("orders", 0, b"...")
    driver.settle()                          # process and commit everything
    driver.crash(); driver.start()           # die, come back, restore and replay
    log.read("totals", 0)                    # what a read_committed consumer sees

The driver runs the real task core and the real host; only the log and the disk are simulated. Time
moves when the test says so (`advance`). `faults` is called at `POINTS` and may raise: `Crash`
(the process dies there) or any `StreamsError` (that call fails).
"""

from streams.testing.disk import SimulatedDisk
from streams.testing.driver import POINTS, Crash, TaskDriver
from streams.testing.log import MemoryLog, ProducerSession
from streams.testing.standby import StandbyDriver

__all__ = [
    "POINTS",
    "Crash",
    "MemoryLog",
    "ProducerSession",
    "SimulatedDisk",
    "StandbyDriver",
    "TaskDriver",
]
