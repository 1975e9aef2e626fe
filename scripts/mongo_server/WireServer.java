import de.bwaldvogel.mongo.MongoBackend;
import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.backend.memory.MemoryBackend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.util.List;

/**
 * MongoDB's wire protocol on a port of loopback, for tests: {@code WireServer PORT [FILE]}.
 *
 * <p>Prints {@code listening HOST:PORT} when ready and ends when standard input does, so that it never outlives whoever started it.
 * Without a file all is in memory.
 */
final class WireServer {

  /** Drivers of today want wire version 9, the library says 8 at most; what separates the two is not used here. */
  private static final class Version implements MongoVersion {
    @Override
    public List<Integer> getVersionArray() {
      return List.of(4, 4, 0);
    }

    @Override
    public int getWireVersion() {
      return 9;
    }
  }

  /** Writes to its file before it answers, as {@code j: true} asks; the library does so about once a second. */
  private static final class JournaledBackend extends H2Backend {
    JournaledBackend(String file) {
      super(file);
    }

    @Override
    public Document handleMessage(MongoMessage message) {
      Document answer = super.handleMessage(message);
      commit();
      return answer;
    }
  }

  private WireServer() {}

  public static void main(String[] arguments) throws IOException {
    MongoBackend backend = arguments.length > 1 ? new JournaledBackend(arguments[1]) : new MemoryBackend();
    MongoServer server = new MongoServer(backend.version(new Version()));
    server.bind("127.0.0.1", Integer.parseInt(arguments[0]));
    InetSocketAddress address = server.getLocalAddress();
    System.out.println("listening 127.0.0.1:" + address.getPort());
    System.out.flush();
    while (System.in.read() >= 0) {
      // Whoever started it says nothing more.
    }
    server.shutdownNow();
    System.exit(0);
  }
}
