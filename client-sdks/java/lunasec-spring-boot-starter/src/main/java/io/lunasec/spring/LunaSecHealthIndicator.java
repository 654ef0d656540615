package io.lunasec.spring;

import io.lunasec.client.LunaSec;
import io.lunasec.client.LunaSecException;
import java.time.Duration;
import java.util.Locale;
import org.springframework.boot.actuate.health.AbstractHealthIndicator;
import org.springframework.boot.actuate.health.Health;
import org.springframework.boot.actuate.health.Status;

/**
 * {@code UP}; {@code DEGRADED}, with 200, while the sidecar answers and something that it needs does not: taking pods out of service
 * then would turn a degradation into an outage; {@code DOWN} while the sidecar itself does not answer.
 */
public final class LunaSecHealthIndicator extends AbstractHealthIndicator {
    /** The sidecar answers, and what it needs is away. */
    public static final Status DEGRADED = new Status("DEGRADED", "what the sidecar needs is away or slow");

    /** A probe waits for no longer. */
    private static final Duration DEADLINE = Duration.ofSeconds(1);

    private final LunaSec<?> lunasec;

    /** Of this client. */
    public LunaSecHealthIndicator(LunaSec<?> lunasec) {
        super("the LunaSec sidecar does not answer");
        this.lunasec = lunasec.withDeadline(DEADLINE);
    }

    @Override
    protected void doHealthCheck(Health.Builder builder) {
        try {
            io.lunasec.client.Status status = lunasec.status();
            builder.status(status.degraded() ? DEGRADED : Status.UP).withDetail("version", status.version());
            status.dependencies()
                    .forEach((name, each) ->
                            builder.withDetail(name, each.state().name().toLowerCase(Locale.ROOT)));
            builder.withDetail("journalPending", status.journal().pending());
        } catch (LunaSecException error) {
            builder.down().withDetail("code", error.code()).withDetail("detail", error.detail());
        }
    }
}
