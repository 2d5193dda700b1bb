package peers;

import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.AggregateFunction;
import org.apache.flink.api.common.serialization.DeserializationSchema;
import org.apache.flink.api.common.serialization.SimpleStringSchema;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.windowing.ProcessWindowFunction;
import org.apache.flink.streaming.api.windowing.assigners.TumblingEventTimeWindows;
import org.apache.flink.streaming.api.windowing.windows.TimeWindow;
import org.apache.flink.util.Collector;

/** The OTLP job at its best: the points of a request are combined before they are keyed. */
final class Points {
  /** What points of a group have together; `at` is the time of all of them. */
  public static class Part {
    public String key;
    public long at;
    public long count;
    public double sum;
    public double min = Double.POSITIVE_INFINITY;
    public double max = Double.NEGATIVE_INFINITY;

    void add(double value) {
      count++;
      sum += value;
      min = Math.min(min, value);
      max = Math.max(max, value);
    }
  }

  static void job(StreamExecutionEnvironment environment, String[] words, boolean exactly) {
    KafkaSource<Part> source =
        KafkaSource.<Part>builder()
            .setBootstrapServers(words[0])
            .setTopics(words[1])
            .setGroupId(words[3])
            .setStartingOffsets(OffsetsInitializer.earliest())
            .setValueOnlyDeserializer(new Requests())
            .build();
    KafkaSink<String> sink =
        KafkaSink.<String>builder()
            .setBootstrapServers(words[0])
            .setProperty("compression.type", "lz4")
            .setProperty("linger.ms", "100")
            .setProperty("transaction.timeout.ms", "60000")
            .setRecordSerializer(
                KafkaRecordSerializationSchema.<String>builder()
                    .setTopic(words[2])
                    .setValueSerializationSchema(new SimpleStringSchema())
                    .build())
            .setDeliveryGuarantee(
                exactly ? DeliveryGuarantee.EXACTLY_ONCE : DeliveryGuarantee.AT_LEAST_ONCE)
            .setTransactionalIdPrefix(words[3])
            .build();
    WatermarkStrategy<Part> times =
        WatermarkStrategy.<Part>forBoundedOutOfOrderness(Duration.ofSeconds(5))
            .withTimestampAssigner((part, recorded) -> part.at);
    environment
        .fromSource(source, times, "requests")
        .keyBy(part -> part.key)
        .window(TumblingEventTimeWindows.of(Duration.ofSeconds(Long.parseLong(words[6]))))
        .aggregate(new Merged(), new Row())
        .sinkTo(sink);
  }

  static final class Requests implements DeserializationSchema<Part> {
    @Override
    public Part deserialize(byte[] request) {
      throw new UnsupportedOperationException("a request has many");
    }

    @Override
    public void deserialize(byte[] request, Collector<Part> out) {
      Map<String, Map<Long, Part>> found = new HashMap<>();
      String[] host = new String[1];
      Otlp.visit(
          request,
          (name, route, at, value) -> {
            host[0] = name;
            found
                .computeIfAbsent(route, each -> new HashMap<>(2))
                .computeIfAbsent(at, each -> new Part())
                .add(value);
          });
      found.forEach(
          (route, parts) -> {
            String key = host[0] + "|" + route;
            parts.forEach(
                (at, part) -> {
                  part.key = key;
                  part.at = at;
                  out.collect(part);
                });
          });
    }

    @Override
    public boolean isEndOfStream(Part part) {
      return false;
    }

    @Override
    public TypeInformation<Part> getProducedType() {
      return TypeInformation.of(Part.class);
    }
  }

  static final class Merged implements AggregateFunction<Part, Part, Part> {
    @Override
    public Part createAccumulator() {
      return new Part();
    }

    @Override
    public Part add(Part part, Part whole) {
      return merge(whole, part);
    }

    @Override
    public Part getResult(Part whole) {
      return whole;
    }

    @Override
    public Part merge(Part whole, Part part) {
      whole.count += part.count;
      whole.sum += part.sum;
      whole.min = Math.min(whole.min, part.min);
      whole.max = Math.max(whole.max, part.max);
      return whole;
    }
  }

  static final class Row extends ProcessWindowFunction<Part, String, String, TimeWindow> {
    @Override
    public void process(
        String key, Context context, Iterable<Part> parts, Collector<String> out) {
      Part whole = parts.iterator().next();
      int cut = key.indexOf('|');
      out.collect(
          "{\"host\":\"%s\",\"route\":\"%s\",\"window_start\":%d,\"count\":%d,\"sum\":%s,\"min\":%s,\"max\":%s}"
              .formatted(
                  key.substring(0, cut), key.substring(cut + 1), context.window().getStart(),
                  whole.count, whole.sum, whole.min, whole.max));
    }
  }

  private Points() {}
}
