package io.lunasec.client;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** The release binary as a process, {@code LUNASEC_BIN}: what an application talks to. */
public final class Sidecar implements AutoCloseable {
    private static final long PATIENCE = TimeUnit.SECONDS.toNanos(60);

    private final Path directory;
    private final Path socket;
    private Process process;

    private Sidecar(Path directory) {
        this.directory = directory;
        this.socket = directory.resolve("s.sock");
    }

    /** One that is not there yet. */
    public static Sidecar stopped() {
        try {
            return new Sidecar(Files.createTempDirectory("lunasec"));
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    public static Sidecar started() {
        Sidecar sidecar = stopped();
        sidecar.start();
        return sidecar;
    }

    public String socket() {
        return socket.toString();
    }

    public void start() {
        launch();
        long until = System.nanoTime() + PATIENCE;
        while (!answers()) {
            if (!process.isAlive() || System.nanoTime() > until) {
                throw new IllegalStateException("the sidecar does not start: see " + directory.resolve("log"));
            }
            Thread.onSpinWait();
        }
    }

    /** Does not wait for it. */
    public void launch() {
        String binary = System.getenv("LUNASEC_BIN");
        if (binary == null) {
            throw new IllegalStateException(
                    "LUNASEC_BIN is not set: build the sidecar with cargo build --release and set it to target/release/lunasec");
        }
        ProcessBuilder builder = new ProcessBuilder(
                binary, "dev", "--dir", directory.toString(), "--socket", socket(), "--admin", "127.0.0.1:0");
        builder.environment().keySet().removeIf(name -> name.startsWith("LUNASEC_"));
        builder.redirectErrorStream(true);
        builder.redirectOutput(
                ProcessBuilder.Redirect.appendTo(directory.resolve("log").toFile()));
        try {
            process = builder.start();
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    private boolean answers() {
        try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
            return channel.connect(UnixDomainSocketAddress.of(socket));
        } catch (IOException nobody) {
            return false;
        }
    }

    /** As an operator does it. */
    public void stop() {
        end(process.toHandle()::destroy);
    }

    /** As a crash does it. */
    public void kill() {
        end(process.toHandle()::destroyForcibly);
    }

    private void end(java.util.function.BooleanSupplier how) {
        if (!how.getAsBoolean() && process.isAlive()) {
            throw new IllegalStateException("the sidecar cannot be stopped");
        }
        try {
            process.waitFor();
        } catch (InterruptedException interrupted) {
            throw new IllegalStateException(interrupted);
        }
    }

    /** What it and its clients have left behind: whether a text is in any file of it. */
    public String log() {
        try {
            return Files.readString(directory.resolve("log"));
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    @Override
    public void close() {
        if (process != null && process.isAlive()) {
            kill();
        }
        try (Stream<Path> all = Files.walk(directory)) {
            for (Path each : all.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(each);
            }
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }
}
