package peers;

import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.EmitStrategy;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The windowed aggregation in Kafka Streams.
 *
 * <p>BOOTSTRAP INPUT OUTPUT APPLICATION STATE FORMAT WINDOW_S OPTIONS, where options are words
 * joined by commas: exactly_once, memory (else RocksDB).
 */
public final class Main {
  static final Duration GRACE = Duration.ofSeconds(5);

  public static void main(String[] words) throws InterruptedException {
    Job job = new Job(words);
    KafkaStreams streams = new KafkaStreams(job.topology(), job.properties());
    CountDownLatch stopped = new CountDownLatch(1);
    streams.setUncaughtExceptionHandler(
        error -> {
          error.printStackTrace();
          Runtime.getRuntime().halt(1);
          return null;
        });
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  streams.close(Duration.ofSeconds(5));
                  stopped.countDown();
                }));
    streams.start();
    stopped.await();
  }

  private record Job(
      String bootstrap, String input, String output, String application, String state,
      String format, Duration window, String options) {

    Job(String[] words) {
      this(words[0], words[1], words[2], words[3], words[4], words[5],
          Duration.ofSeconds(Long.parseLong(words[6])), words[7]);
    }

    boolean asked(String option) {
      return ("," + options + ",").contains("," + option + ",");
    }

    Properties properties() {
      Properties given = new Properties();
      given.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
      given.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
      given.put(StreamsConfig.STATE_DIR_CONFIG, state);
      given.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
      given.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
      given.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
      given.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 256L << 20);
      given.put(StreamsConfig.BUFFERED_RECORDS_PER_PARTITION_CONFIG, 10_000);
      given.put(StreamsConfig.TOPOLOGY_OPTIMIZATION_CONFIG, StreamsConfig.OPTIMIZE);
      // else what the last records close would wait for more of them
      given.put("__emit.interval.ms.kstreams.windowed.aggregation__", 0L);
      if (asked("exactly_once")) {
        given.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
      }
      given.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
      given.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 10_000);
      given.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MIN_BYTES_CONFIG), 65_536);
      given.put(StreamsConfig.consumerPrefix(ConsumerConfig.FETCH_MAX_WAIT_MS_CONFIG), 100);
      given.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
      given.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 1 << 18);
      given.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), 100);
      return given;
    }

    Topology topology() {
      StreamsBuilder builder = new StreamsBuilder();
      if (format.equals("json")) {
        json(builder);
      } else {
        return Combined.topology(input, output, window, asked("memory"));
      }
      return builder.build(properties());
    }

    /** The records' keys are the groups: nothing has to be repartitioned. */
    private void json(StreamsBuilder builder) {
      Serde<Event> events = Json.serde(Event.class);
      Consumed<String, Event> consumed =
          Consumed.with(Serdes.String(), events)
              .withTimestampExtractor((record, last) -> ((Event) record.value()).at);
      builder.stream(input, consumed)
          .groupByKey(Grouped.with(Serdes.String(), events))
          .windowedBy(TimeWindows.ofSizeAndGrace(window, GRACE))
          .emitStrategy(EmitStrategy.onWindowClose())
          .aggregate(Stats::new, (key, event, stats) -> stats.add(event.value), store())
          .toStream()
          .map((k, s) -> KeyValue.pair(k.key(), Row.of(k.key(), k.window().start(), s)))
          .to(output, Produced.with(Serdes.String(), Json.serde(Row.class)));
    }

    private Materialized<String, Stats, WindowStore<Bytes, byte[]>> store() {
      Materialized<String, Stats, WindowStore<Bytes, byte[]>> made =
          Materialized.<String, Stats, WindowStore<Bytes, byte[]>>as("windows")
              .withKeySerde(Serdes.String())
              .withValueSerde(Stats.SERDE)
              .withRetention(window.plus(GRACE));
      return asked("memory") ? made.withStoreType(Materialized.StoreType.IN_MEMORY) : made;
    }
  }

  private Main() {}
}
