package io.lunasec.spring;

import io.lunasec.client.LunaSec;
import io.lunasec.client.LunaSecBuilder;
import io.lunasec.client.RetryOptions;
import io.lunasec.client.Telemetry;
import io.lunasec.client.Value;
import java.util.function.Consumer;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;

/**
 * One client for the application, from {@code lunasec.*}, unless it has a bean named {@code lunasec}; views of it may be beans, too. It connects with its first call: a start does not wait for the sidecar.
 */
@AutoConfiguration(after = LunaSecObservationAutoConfiguration.class)
@EnableConfigurationProperties(LunaSecProperties.class)
public class LunaSecAutoConfiguration {
    /** Made by Spring. */
    public LunaSecAutoConfiguration() {}

    @Bean(destroyMethod = "close")
    @ConditionalOnMissingBean(name = "lunasec")
    LunaSec<Value> lunasec(
            LunaSecProperties properties,
            ObjectProvider<Telemetry> telemetry,
            ObjectProvider<LunaSecCustomizer> customizers) {
        LunaSecBuilder<Value> builder = LunaSec.builder();
        given(properties.socket(), builder::socket);
        given(properties.namespace(), builder::namespace);
        given(properties.purpose(), builder::purpose);
        given(properties.deadline(), builder::deadline);
        given(properties.startDeadline(), builder::startDeadline);
        given(properties.restartGrace(), builder::restartGrace);
        given(properties.connections(), builder::connections);
        given(properties.pendingCalls(), builder::pendingCalls);
        given(properties.batchItems(), builder::batchItems);
        builder.retry(retry(properties.retry()));
        telemetry.ifUnique(builder::telemetry);
        customizers.orderedStream().forEach(each -> each.customize(builder));
        return builder.build();
    }

    private static RetryOptions retry(LunaSecProperties.Retry said) {
        RetryOptions retry = RetryOptions.defaults();
        retry = said.attempts() == null ? retry : retry.attempts(said.attempts());
        retry = said.pause() == null ? retry : retry.pause(said.pause());
        retry = said.pauseMost() == null ? retry : retry.pauseMost(said.pauseMost());
        return said.budget() == null ? retry : retry.budget(said.budget());
    }

    private static <T> void given(T value, Consumer<T> to) {
        if (value != null) {
            to.accept(value);
        }
    }
}
