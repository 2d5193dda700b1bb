package peers;

import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Windowed;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowBytesStoreSupplier;
import org.apache.kafka.streams.state.WindowStore;

/**
 * OTLP with the Processor API, at its best: a message's points are combined in a hash map, the
 * store is touched once a group and message, and nothing is repartitioned, since a host's messages
 * share a partition.
 */
final class Combined implements Processor<Bytes, byte[], String, Row> {
  private static final String STORE = "windows";

  private final long size;
  private ProcessorContext<String, Row> context;
  private WindowStore<String, Stats> store;
  private final Map<Long, Map<String, Stats>> message = new HashMap<>();
  private long time = Long.MIN_VALUE;
  private long closed = Long.MIN_VALUE;
  private String host;

  private Combined(long size) {
    this.size = size;
  }

  static Topology topology(String input, String output, Duration window, boolean memory) {
    Duration kept = window.multipliedBy(3);
    WindowBytesStoreSupplier supplier =
        memory
            ? Stores.inMemoryWindowStore(STORE, kept, window, false)
            : Stores.persistentWindowStore(STORE, kept, window, false);
    StoreBuilder<WindowStore<String, Stats>> store =
        Stores.windowStoreBuilder(supplier, Serdes.String(), Stats.SERDE).withCachingEnabled();
    Topology topology = new Topology();
    topology.addSource(
        "requests", Serdes.Bytes().deserializer(), Serdes.ByteArray().deserializer(), input);
    topology.addProcessor("combined", () -> new Combined(window.toMillis()), "requests");
    topology.addStateStore(store, "combined");
    topology.addSink(
        "rows", output, Serdes.String().serializer(), Json.serde(Row.class).serializer(),
        "combined");
    return topology;
  }

  @Override
  public void init(ProcessorContext<String, Row> given) {
    context = given;
    store = given.getStateStore(STORE);
  }

  @Override
  public void process(Record<Bytes, byte[]> record) {
    message.clear();
    Otlp.visit(
        record.value(),
        (host, route, at, value) -> {
          time = Math.max(time, at);
          message
              .computeIfAbsent(at - Math.floorMod(at, size), start -> new HashMap<>())
              .computeIfAbsent(route, each -> new Stats())
              .add(value);
          this.host = host;
        });
    message.forEach(
        (start, routes) -> {
          if (start <= closed) {
            return; // late
          }
          routes.forEach(
              (route, stats) -> {
                String key = host + "|" + route;
                Stats old = store.fetch(key, start);
                store.put(key, old == null ? stats : old.merge(stats), start);
              });
        });
    emitClosed();
  }

  private void emitClosed() {
    long until = time - Main.GRACE.toMillis() - size;
    long last = until - Math.floorMod(until, size);
    if (closed == Long.MIN_VALUE) {
      closed = last - size;
    }
    for (long start = closed + size; start <= last; start += size) {
      try (KeyValueIterator<Windowed<String>, Stats> found = store.fetchAll(start, start)) {
        while (found.hasNext()) {
          KeyValue<Windowed<String>, Stats> each = found.next();
          String key = each.key.key();
          context.forward(new Record<>(key, Row.of(key, start, each.value), start + size));
        }
      }
      closed = start;
    }
  }
}
