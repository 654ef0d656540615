package io.lunasec.spring;

import io.lunasec.client.LunaSec;
import io.lunasec.client.LunaSecSession;
import io.lunasec.client.OnUnavailable;
import io.lunasec.client.Plaintext;
import io.lunasec.client.Revealed;
import io.lunasec.client.Token;
import io.lunasec.client.Value;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.springframework.boot.SpringBootConfiguration;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.context.annotation.Bean;
import org.springframework.http.ResponseEntity;
import org.springframework.web.bind.annotation.CookieValue;
import org.springframework.web.bind.annotation.ExceptionHandler;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.ModelAttribute;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RequestParam;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.bind.annotation.RestControllerAdvice;

/** An application as the tests need it. */
@SpringBootConfiguration
@EnableAutoConfiguration
class Shop {
    @Bean
    LunaSecSessions sessions() {
        return request -> Optional.ofNullable(request.getHeader("x-user")).map(LunaSecSessions.Id::of);
    }

    /** As in the README. */
    @Bean
    LunaSec<Revealed> pages(LunaSec<Value> lunasec) {
        return lunasec.onUnavailable(OnUnavailable.mask());
    }

    /** As many an application has one. */
    @RestControllerAdvice
    static class Everything {
        @ExceptionHandler
        ResponseEntity<String> any(Exception error) {
            return ResponseEntity.status(418).body("theirs");
        }
    }

    record Form(Token card) {}

    record Clear(Plaintext card) {}

    record Keys(Map<Token, String> by) {}

    record Made(Token card, List<Token> more) {}

    static class Filled {
        private Token card;
        private List<Token> more;

        public Token getCard() {
            return card;
        }

        public void setCard(Token card) {
            this.card = card;
        }

        public List<Token> getMore() {
            return more;
        }

        public void setMore(List<Token> more) {
            this.more = more;
        }
    }

    /** Each way for a token to get into a handler. */
    @RestController
    static class Ways {
        private static String ran(Object with) {
            return with == null ? "ran" : with instanceof Token token ? "ran " + token.expose() : "ran with " + with;
        }

        @GetMapping("/ways/parameter")
        String parameter(@RequestParam Token card) {
            return ran(card);
        }

        @GetMapping("/ways/parameters")
        String parameters(@RequestParam List<Token> card) {
            return ran(card.get(0));
        }

        @GetMapping("/ways/perhaps")
        String perhaps(@RequestParam Optional<Token> card) {
            return ran(card.orElse(null));
        }

        @GetMapping("/ways/path/{card}")
        String path(@PathVariable Token card) {
            return ran(card);
        }

        @GetMapping("/ways/header")
        String header(@RequestHeader("x-card") Token card) {
            return ran(card);
        }

        @GetMapping("/ways/cookie")
        String cookie(@CookieValue Token card) {
            return ran(card);
        }

        @PostMapping("/ways/filled")
        String filled(@ModelAttribute Filled form) {
            return ran(form.getCard() != null ? form.getCard() : form.getMore());
        }

        @PostMapping("/ways/made")
        String made(@ModelAttribute Made form) {
            return ran(form.card() != null ? form.card() : form.more());
        }

        @PostMapping("/ways/value")
        String value(@RequestBody Clear body) {
            return ran(body);
        }

        @PostMapping("/ways/keys")
        String keys(@RequestBody Keys body) {
            return ran(body);
        }
    }

    @RestController
    static class Cards {
        private final LunaSec<Value> lunasec;

        Cards(LunaSec<Value> lunasec) {
            this.lunasec = lunasec;
        }

        @PostMapping("/cards")
        Map<String, String> keep(@RequestBody String number, LunaSecSession<Value> user) {
            Token token = user.tokenize(number).token();
            user.grant(List.of(token));
            return Map.of("token", token.expose());
        }

        @GetMapping("/cards/{token}")
        Map<String, String> reveal(@PathVariable Token token, LunaSecSession<Value> user) {
            return Map.of("number", user.detokenize(token).reveal());
        }

        @PostMapping("/forms")
        Map<String, String> form(@RequestBody Form form) {
            return Map.of("kept", form.card().expose());
        }

        @GetMapping("/raw/{token}")
        Object raw(@PathVariable String token) {
            return lunasec.detokenize(Token.of(token));
        }
    }
}
