package peers;

import java.nio.ByteBuffer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;

/** Count, sum, least and greatest of some values. */
final class Stats {
  long count;
  double sum;
  double min = Double.POSITIVE_INFINITY;
  double max = Double.NEGATIVE_INFINITY;

  Stats add(double value) {
    count++;
    sum += value;
    min = Math.min(min, value);
    max = Math.max(max, value);
    return this;
  }

  Stats merge(Stats other) {
    count += other.count;
    sum += other.sum;
    min = Math.min(min, other.min);
    max = Math.max(max, other.max);
    return this;
  }

  static final Serde<Stats> SERDE =
      Serdes.serdeFrom(
          (topic, stats) ->
              stats == null
                  ? null
                  : ByteBuffer.allocate(32)
                      .putLong(stats.count)
                      .putDouble(stats.sum)
                      .putDouble(stats.min)
                      .putDouble(stats.max)
                      .array(),
          (topic, bytes) -> {
            if (bytes == null) {
              return null;
            }
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            Stats stats = new Stats();
            stats.count = buffer.getLong();
            stats.sum = buffer.getDouble();
            stats.min = buffer.getDouble();
            stats.max = buffer.getDouble();
            return stats;
          });
}
