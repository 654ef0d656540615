package io.lunasec.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.locks.LockSupport;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** Thousands of virtual threads wait, and none of them pins the thread that carries it. Needs JDK 21 or newer. */
@Tag("virtual-threads")
class VirtualThreadsTest {
    private static final String EVENT = "jdk.VirtualThreadPinned";

    private interface Work {
        void run() throws Exception;
    }

    @Test
    void thousandsOfThemWaitAndPinNothing() throws Exception {
        try (Sidecar sidecar = Sidecar.started();
                LunaSec<Value> lunasec = LunaSec.builder()
                        .socket(sidecar.socket())
                        .telemetry(null)
                        .build()) {
            // What loads a class for the first time pins, whosever it is.
            RealSidecarTest.everybodyGetsTheirOwn(lunasec, virtualThreads(), 1, 1);
            List<RecordedEvent> pinned =
                    pinnedBy(() -> RealSidecarTest.everybodyGetsTheirOwn(lunasec, virtualThreads(), 2_000, 1));
            assertEquals(
                    List.of(),
                    pinned.stream().filter(VirtualThreadsTest::isInOurs).toList());
        }
    }

    /** Otherwise the test above would pass whatever happened. */
    @Test
    void oneThatIsPinnedIsSeen() throws Exception {
        List<RecordedEvent> pinned = pinnedBy(() -> {
            ExecutorService threads = virtualThreads();
            assertTrue(threads.submit(() -> Pinning.DONE).get());
            threads.shutdown();
        });
        assertTrue(pinned.stream().anyMatch(VirtualThreadsTest::isInOurs), String.valueOf(pinned));
    }

    /** Waiting within the initializer of a class pins. */
    private static final class Pinning {
        static final boolean DONE;

        static {
            LockSupport.parkNanos(Duration.ofMillis(50).toNanos());
            DONE = true;
        }
    }

    private static List<RecordedEvent> pinnedBy(Work work) throws Exception {
        Path file = Files.createTempFile("lunasec", ".jfr");
        try (Recording recording = new Recording()) {
            recording.enable(EVENT).withThreshold(Duration.ZERO).withStackTrace();
            recording.start();
            work.run();
            recording.stop();
            recording.dump(file);
            return RecordingFile.readAllEvents(file).stream()
                    .filter(event -> event.getEventType().getName().equals(EVENT))
                    .toList();
        } finally {
            Files.delete(file);
        }
    }

    private static boolean isInOurs(RecordedEvent event) {
        return event.getStackTrace() == null
                || event.getStackTrace().getFrames().stream()
                        .anyMatch(frame -> frame.getMethod().getType().getName().startsWith("io.lunasec"));
    }

    /** Compiled for Java 17, which has none. */
    private static ExecutorService virtualThreads() throws ReflectiveOperationException {
        return (ExecutorService)
                Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
    }
}
