package io.lunasec.spring;

import io.lunasec.client.LunaSec;
import io.lunasec.client.Value;
import jakarta.servlet.http.HttpSession;
import java.security.Principal;
import java.util.List;
import java.util.Optional;
import org.springframework.beans.factory.annotation.Qualifier;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.autoconfigure.condition.ConditionalOnWebApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.format.FormatterRegistry;
import org.springframework.web.method.support.HandlerMethodArgumentResolver;
import org.springframework.web.servlet.config.annotation.WebMvcConfigurer;

/** Spring MVC: sessions and tokens as parameters of controllers, and problems as answers. */
@AutoConfiguration(after = LunaSecAutoConfiguration.class)
@ConditionalOnClass(WebMvcConfigurer.class)
@ConditionalOnWebApplication(type = ConditionalOnWebApplication.Type.SERVLET)
@ConditionalOnBean(name = "lunasec")
public class LunaSecWebAutoConfiguration {
    /** Made by Spring. */
    public LunaSecWebAutoConfiguration() {}

    /**
     * The name of who is signed in, else the id of the HTTP session, where there is one; told apart, or who registers under the id of a
     * visitor's session would be that visitor.
     */
    @Bean
    @ConditionalOnMissingBean
    LunaSecSessions lunasecSessions() {
        return request -> {
            Principal user = request.getUserPrincipal();
            if (user != null) {
                return named("user:", user.getName());
            }
            HttpSession session = request.getSession(false);
            return session == null ? Optional.empty() : named("visitor:", session.getId());
        };
    }

    private static Optional<LunaSecSessions.Id> named(String kind, String name) {
        return name == null || name.isBlank() ? Optional.empty() : Optional.of(LunaSecSessions.Id.of(kind + name));
    }

    @Bean
    WebMvcConfigurer lunasecArguments(@Qualifier("lunasec") LunaSec<Value> lunasec, LunaSecSessions sessions) {
        return new WebMvcConfigurer() {
            @Override
            public void addArgumentResolvers(List<HandlerMethodArgumentResolver> resolvers) {
                resolvers.add(new LunaSecSessionArgument(lunasec, sessions));
            }

            @Override
            public void addFormatters(FormatterRegistry registry) {
                registry.addConverter(new LunaSecBinding.Strict());
            }
        };
    }

    @Bean
    LunaSecBinding lunasecBinding() {
        return new LunaSecBinding();
    }

    @Bean
    @ConditionalOnMissingBean
    @ConditionalOnProperty(name = "lunasec.problems.enabled", matchIfMissing = true)
    LunaSecProblems lunasecProblems() {
        return new LunaSecProblems();
    }
}
