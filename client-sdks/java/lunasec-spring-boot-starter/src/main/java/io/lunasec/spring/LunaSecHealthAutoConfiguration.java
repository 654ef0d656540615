package io.lunasec.spring;

import io.lunasec.client.LunaSec;
import org.springframework.beans.factory.annotation.Qualifier;
import org.springframework.boot.actuate.autoconfigure.health.ConditionalOnEnabledHealthIndicator;
import org.springframework.boot.actuate.health.HealthIndicator;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.context.annotation.Bean;

/** {@code /actuator/health} says how the sidecar is; {@code management.health.lunasec.enabled=false}: not. */
@AutoConfiguration(after = LunaSecAutoConfiguration.class)
@ConditionalOnClass(HealthIndicator.class)
@ConditionalOnBean(name = "lunasec")
@ConditionalOnEnabledHealthIndicator("lunasec")
public class LunaSecHealthAutoConfiguration {
    /** Made by Spring. */
    public LunaSecHealthAutoConfiguration() {}

    @Bean
    @ConditionalOnMissingBean(name = "lunasecHealthIndicator")
    LunaSecHealthIndicator lunasecHealthIndicator(@Qualifier("lunasec") LunaSec<?> lunasec) {
        return new LunaSecHealthIndicator(lunasec);
    }
}
