package shop;

import io.lunasec.client.LunaSec;
import io.lunasec.client.LunaSecSession;
import io.lunasec.client.OnUnavailable;
import io.lunasec.client.Revealed;
import io.lunasec.client.Value;
import io.lunasec.jpa.TokenConverter;
import io.lunasec.spring.LunaSecSessions;
import java.util.Optional;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.autoconfigure.domain.EntityScan;
import org.springframework.context.annotation.Bean;

/** A shop whose database holds nothing but tokens. */
@SpringBootApplication
@EntityScan(basePackageClasses = {Shop.class, TokenConverter.class})
public class Shop {
    public static void main(String[] arguments) {
        SpringApplication.run(Shop.class, arguments);
    }

    /** A real shop knows its users by a login; this one believes a header. */
    @Bean
    LunaSecSessions sessions() {
        return request -> Optional.ofNullable(request.getHeader("x-customer")).map(LunaSecSessions.Id::of);
    }

    /** What staff sees goes on while protected data is away: names are masked then. */
    @Bean
    LunaSecSession<Revealed> staff(LunaSec<Value> lunasec) {
        return lunasec.withPurpose("delivery")
                .onUnavailable(OnUnavailable.mask())
                .forSession("staff");
    }
}
