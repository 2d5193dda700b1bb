import com.sun.net.httpserver.HttpServer;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.InsecureServerCredentials;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.protobuf.services.HealthStatusManager;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** A service that calls itself over HTTP and gRPC, and produces to and consumes from Kafka. */
public class Workload {
    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        long until = System.currentTimeMillis() + 1000L * Integer.parseInt(args[1]);

        HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        answer(server, "/orders", 200);
        answer(server, "/missing", 404);
        answer(server, "/broken", 500);
        server.start();
        String base = "http://127.0.0.1:" + server.getAddress().getPort();
        HttpClient http = HttpClient.newHttpClient();

        HealthStatusManager health = new HealthStatusManager();
        io.grpc.Server grpc = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
            .addService(health.getHealthService()).build().start();
        HealthGrpc.HealthBlockingStub stub = HealthGrpc.newBlockingStub(Grpc.newChannelBuilder(
            "127.0.0.1:" + grpc.getPort(), InsecureChannelCredentials.create()).build());

        Properties producing = new Properties();
        producing.putAll(Map.of("bootstrap.servers", bootstrap, "client.id", "orders-writer"));
        Properties consuming = new Properties();
        consuming.putAll(Map.of("bootstrap.servers", bootstrap, "client.id", "orders-reader",
            "group.id", args[2] + "-billing", "auto.offset.reset", "earliest", "max.poll.records", "20"));
        try (KafkaProducer<byte[], byte[]> producer =
                 new KafkaProducer<>(producing, new ByteArraySerializer(), new ByteArraySerializer());
             KafkaConsumer<byte[], byte[]> consumer =
                 new KafkaConsumer<>(consuming, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.subscribe(List.of("orders"));
            for (int round = 0; System.currentTimeMillis() < until; round++) {
                for (String path : List.of("/orders", "/orders", "/missing", "/broken")) {
                    http.send(HttpRequest.newBuilder(URI.create(base + path)).build(), BodyHandlers.ofString());
                }
                stub.check(HealthCheckRequest.getDefaultInstance());
                try {
                    stub.check(HealthCheckRequest.newBuilder().setService("unknown").build());
                } catch (StatusRuntimeException expected) {
                    // NOT_FOUND: calls that fail are part of the recording
                }
                for (int n = 0; n < 25; n++) {
                    producer.send(new ProducerRecord<>("orders", new byte[400]));
                }
                consumer.poll(Duration.ofMillis(50));
                if (round == 0) {
                    System.out.println("the first round is done");
                }
                if (round % 50 == 49) {
                    System.gc();
                }
            }
        }
        System.exit(0);
    }

    private static void answer(HttpServer server, String path, int status) {
        server.createContext(path, exchange -> {
            byte[] body = "{}".getBytes();
            exchange.sendResponseHeaders(status, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
    }
}
