package peers;

import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.RestOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/**
 * The windowed aggregation in Flink: SQL over JSON, the DataStream API over OTLP.
 *
 * <p>BOOTSTRAP INPUT OUTPUT APPLICATION STATE FORMAT WINDOW_S OPTIONS, where the option is
 * at_least_once or exactly_once (of the checkpoints and of the sink).
 */
public final class Main {
  static final String TABLES =
      """
      CREATE TABLE events (
        host STRING, route STRING, `value` DOUBLE, `at` BIGINT,
        `time` AS TO_TIMESTAMP_LTZ(`at`, 3),
        WATERMARK FOR `time` AS `time` - INTERVAL '5' SECOND
      ) WITH (
        'connector' = 'kafka', 'topic' = '%2$s', 'properties.bootstrap.servers' = '%1$s',
        'properties.group.id' = '%4$s', 'scan.startup.mode' = 'earliest-offset',
        'format' = 'json'
      );
      CREATE TABLE results (
        host STRING, route STRING, window_start BIGINT, `count` BIGINT, `sum` DOUBLE,
        `min` DOUBLE, `max` DOUBLE
      ) WITH (
        'connector' = 'kafka', 'topic' = '%3$s', 'properties.bootstrap.servers' = '%1$s',
        'format' = 'json', 'properties.compression.type' = 'lz4', 'properties.linger.ms' = '100',
        'properties.transaction.timeout.ms' = '60000',
        'sink.delivery-guarantee' = '%5$s', 'sink.transactional-id-prefix' = '%4$s'
      )""";
  static final String QUESTION =
      """
      INSERT INTO results
      SELECT host, route,
        UNIX_TIMESTAMP(CAST(window_start AS STRING)) * 1000,
        COUNT(*), SUM(`value`), MIN(`value`), MAX(`value`)
      FROM TUMBLE(TABLE events, DESCRIPTOR(`time`), INTERVAL '%d' SECOND)
      GROUP BY host, route, window_start, window_end""";

  public static void main(String[] words) throws Exception {
    boolean exactly = words[7].equals("exactly_once");
    Configuration given = new Configuration();
    given.set(PipelineOptions.OBJECT_REUSE, true);
    given.set(PipelineOptions.GENERIC_TYPES, false);
    given.set(RestOptions.PORT, 0);
    given.set(RestOptions.BIND_PORT, "0");
    given.set(StateBackendOptions.STATE_BACKEND, "hashmap");
    given.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, java.time.Duration.ofSeconds(1));
    given.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, "file://" + words[4]);
    given.set(
        CheckpointingOptions.CHECKPOINTING_CONSISTENCY_MODE,
        exactly ? CheckpointingMode.EXACTLY_ONCE : CheckpointingMode.AT_LEAST_ONCE);
    given.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ofMebiBytes(256));
    given.set(TaskManagerOptions.NETWORK_MEMORY_MIN, MemorySize.ofMebiBytes(64));
    StreamExecutionEnvironment environment =
        StreamExecutionEnvironment.getExecutionEnvironment(given);
    environment.setParallelism(1);
    if (words[5].equals("json")) {
      sql(StreamTableEnvironment.create(environment), words, exactly);
    } else {
      Points.job(environment, words, exactly);
      environment.execute(words[3]);
    }
  }

  private static void sql(StreamTableEnvironment tables, String[] words, boolean exactly)
      throws Exception {
    tables.getConfig().set("table.local-time-zone", "UTC");
    tables.getConfig().set("table.exec.mini-batch.enabled", "true");
    tables.getConfig().set("table.exec.mini-batch.allow-latency", "1 s");
    tables.getConfig().set("table.exec.mini-batch.size", "10000");
    String guarantee = exactly ? "exactly-once" : "at-least-once";
    String made = TABLES.formatted(words[0], words[1], words[2], words[3], guarantee);
    for (String statement : made.split(";\n")) {
      tables.executeSql(statement);
    }
    tables.executeSql(QUESTION.formatted(Long.parseLong(words[6]))).await();
  }

  private Main() {}
}
