"""The windowed aggregation as a PyFlink Table job: JSON only. See `catalogue.py`.

SQL runs in the virtual machine that PyFlink starts; Python describes the job. The connector's jars
are those of the Java peer, in the folder that is the last argument.
"""

import sys
from pathlib import Path

from pyflink.common import Configuration
from pyflink.table import EnvironmentSettings, TableEnvironment

BOOTSTRAP, INPUT, OUTPUT, NAME, STATE, FORMAT, WINDOW, OPTIONS = sys.argv[1:]
JARS = (
    "flink-connector-kafka-",
    "flink-connector-base-",
    "kafka-clients-",
    "zstd-",
    "lz4-",
    "snappy-",
)

given = Configuration()
for key, value in {
    "pipeline.jars": ";".join(
        jar.as_uri() for jar in Path(OPTIONS).glob("*.jar") if jar.name.startswith(JARS)
    ),
    "parallelism.default": "1",
    "pipeline.object-reuse": "true",
    "rest.port": "0",
    "rest.bind-port": "0",
    "state.backend.type": "hashmap",
    "execution.checkpointing.interval": "1 s",
    "execution.checkpointing.dir": f"file://{STATE}",
    "table.local-time-zone": "UTC",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "1 s",
    "table.exec.mini-batch.size": "10000",
}.items():
    given.set_string(key, value)
tables = TableEnvironment.create(
    EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(given).build()
)
tables.execute_sql(f"""
    CREATE TABLE events (
      host STRING, route STRING, `value` DOUBLE, `at` BIGINT,
      `time` AS TO_TIMESTAMP_LTZ(`at`, 3), WATERMARK FOR `time` AS `time` - INTERVAL '5' SECOND
    ) WITH (
      'connector' = 'kafka', 'topic' = '{INPUT}', 'properties.bootstrap.servers' = '{BOOTSTRAP}',
      'properties.group.id' = '{NAME}', 'scan.startup.mode' = 'earliest-offset', 'format' = 'json'
    )""")
tables.execute_sql(f"""
    CREATE TABLE results (
      host STRING, route STRING, window_start BIGINT, `count` BIGINT, `sum` DOUBLE, `min` DOUBLE,
      `max` DOUBLE
    ) WITH (
      'connector' = 'kafka', 'topic' = '{OUTPUT}', 'properties.bootstrap.servers' = '{BOOTSTRAP}',
      'format' = 'json', 'properties.compression.type' = 'lz4', 'properties.linger.ms' = '100',
      'properties.transaction.timeout.ms' = '60000',
      'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '{NAME}'
    )""")
tables.execute_sql(f"""
    INSERT INTO results
    SELECT host, route, UNIX_TIMESTAMP(CAST(window_start AS STRING)) * 1000,
      COUNT(*), SUM(`value`), MIN(`value`), MAX(`value`)
    FROM TUMBLE(TABLE events, DESCRIPTOR(`time`), INTERVAL '{WINDOW}' SECOND)
    GROUP BY host, route, window_start, window_end""").wait()
