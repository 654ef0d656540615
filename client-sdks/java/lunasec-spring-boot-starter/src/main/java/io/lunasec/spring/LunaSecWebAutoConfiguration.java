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
import org.springframework.web.method.support.HandlerMethodArgumentResolver;
import org.springframework.web.servlet.config.annotation.WebMvcConfigurer;

/** Spring MVC: sessions as parameters of controllers, and problems as answers. */
@AutoConfiguration(after = LunaSecAutoConfiguration.class)
@ConditionalOnClass(WebMvcConfigurer.class)
@ConditionalOnWebApplication(type = ConditionalOnWebApplication.Type.SERVLET)
@ConditionalOnBean(name = "lunasec")
public class LunaSecWebAutoConfiguration {
    /** Made by Spring. */
    public LunaSecWebAutoConfiguration() {}

    /** The name of who is signed in, else the id of the HTTP session, where there is one. */
    @Bean
    @ConditionalOnMissingBean
    LunaSecSessions lunasecSessions() {
        return request -> {
            HttpSession session = request.getSession(false);
            return Optional.ofNullable(request.getUserPrincipal())
                    .map(Principal::getName)
                    .or(() -> Optional.ofNullable(session).map(HttpSession::getId))
                    .map(LunaSecSessions.Id::of);
        };
    }

    @Bean
    WebMvcConfigurer lunasecArguments(@Qualifier("lunasec") LunaSec<Value> lunasec, LunaSecSessions sessions) {
        return new WebMvcConfigurer() {
            @Override
            public void addArgumentResolvers(List<HandlerMethodArgumentResolver> resolvers) {
                resolvers.add(new LunaSecSessionArgument(lunasec, sessions));
            }
        };
    }

    @Bean
    @ConditionalOnMissingBean
    @ConditionalOnProperty(name = "lunasec.problems.enabled", matchIfMissing = true)
    LunaSecProblems lunasecProblems() {
        return new LunaSecProblems();
    }
}
