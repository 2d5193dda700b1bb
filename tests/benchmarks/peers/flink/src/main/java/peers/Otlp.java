package peers;

import com.google.protobuf.InvalidProtocolBufferException;
import io.opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest;
import io.opentelemetry.proto.common.v1.KeyValue;
import io.opentelemetry.proto.metrics.v1.Metric;
import io.opentelemetry.proto.metrics.v1.NumberDataPoint;
import io.opentelemetry.proto.metrics.v1.ResourceMetrics;
import io.opentelemetry.proto.metrics.v1.ScopeMetrics;
import java.util.List;

/** Walks the points of a request, parsed by the official classes. */
final class Otlp {
  interface Visitor {
    void point(String host, String route, long atMillis, double value);
  }

  static void visit(byte[] request, Visitor visitor) {
    ExportMetricsServiceRequest parsed;
    try {
      parsed = ExportMetricsServiceRequest.parseFrom(request);
    } catch (InvalidProtocolBufferException error) {
      throw new IllegalArgumentException(error);
    }
    for (ResourceMetrics resource : parsed.getResourceMetricsList()) {
      String host = attribute(resource.getResource().getAttributesList(), "host.name");
      for (ScopeMetrics scope : resource.getScopeMetricsList()) {
        for (Metric metric : scope.getMetricsList()) {
          for (NumberDataPoint point : metric.getGauge().getDataPointsList()) {
            double value =
                point.hasAsDouble() ? point.getAsDouble() : (double) point.getAsInt();
            String route = attribute(point.getAttributesList(), "http.route");
            visitor.point(host, route, point.getTimeUnixNano() / 1_000_000, value);
          }
        }
      }
    }
  }

  private static String attribute(List<KeyValue> attributes, String key) {
    for (KeyValue each : attributes) {
      if (each.getKey().equals(key)) {
        return each.getValue().getStringValue();
      }
    }
    return "";
  }

  private Otlp() {}
}
