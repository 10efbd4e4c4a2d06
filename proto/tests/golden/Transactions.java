import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Two transactional producers side by side, flushed after every record. Every value says whether it was committed.
 * Run by capture-batches as a single source file: java -cp 'LIBS/*' Transactions.java SERVER TOPIC
 */
public final class Transactions {
    private final String server;
    private final TopicPartition partition;
    private final KafkaConsumer<byte[], byte[]> reader;

    private Transactions(String server, String topic) {
        this.server = server;
        this.partition = new TopicPartition(topic, 0);
        var settings = Map.<String, Object>of("bootstrap.servers", server, "isolation.level", "read_uncommitted");
        this.reader = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    public static void main(String[] arguments) throws Exception {
        new Transactions(arguments[0], arguments[1]).run();
    }

    private void run() throws Exception {
        try (var x = producer("x"); var y = producer("y"); reader) {
            x.beginTransaction();
            send(x, "x1 aborted", 1);
            y.beginTransaction();
            send(y, "y1 committed", 2);
            send(x, "x2 aborted", 3);
            x.abortTransaction();
            await(4);
            send(y, "y2 committed", 5);
            x.beginTransaction();
            send(x, "x3 committed", 6);
            x.commitTransaction();
            await(7);
            y.commitTransaction();
            await(8);
            y.beginTransaction();
            send(y, "y3 aborted", 9);
            y.abortTransaction();
            await(10);
        }
    }

    private KafkaProducer<String, String> producer(String id) {
        var settings = Map.<String, Object>of("bootstrap.servers", server, "transactional.id", id, "compression.type", "zstd");
        var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
        producer.initTransactions();
        return producer;
    }

    private void send(KafkaProducer<String, String> producer, String value, long end) throws Exception {
        producer.send(new ProducerRecord<>(partition.topic(), 0, null, value));
        producer.flush();
        await(end);
    }

    /** Until the log ends there: a marker is written after its transaction was answered. */
    private void await(long end) throws InterruptedException {
        for (int attempt = 0; attempt < 1000; attempt++) {
            if (reader.endOffsets(List.of(partition), Duration.ofSeconds(10)).get(partition) >= end) {
                return;
            }
            Thread.sleep(10);
        }
        throw new IllegalStateException("the log does not reach offset " + end);
    }
}
