package io.lunasec.spring;

import io.lunasec.client.Telemetry;
import io.micrometer.observation.ObservationRegistry;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.context.annotation.Bean;

/** Each request is an observation {@code lunasec.requests}: a timer where there are meters, a span where there is tracing. */
@AutoConfiguration(
        afterName = "org.springframework.boot.actuate.autoconfigure.observation.ObservationAutoConfiguration")
@ConditionalOnClass(ObservationRegistry.class)
@ConditionalOnBean(ObservationRegistry.class)
public class LunaSecObservationAutoConfiguration {
    /** Made by Spring. */
    public LunaSecObservationAutoConfiguration() {}

    @Bean
    @ConditionalOnMissingBean(Telemetry.class)
    Telemetry lunasecTelemetry(ObservationRegistry registry) {
        return new LunaSecObservations(registry);
    }
}
