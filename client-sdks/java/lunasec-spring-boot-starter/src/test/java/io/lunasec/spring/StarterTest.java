package io.lunasec.spring;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.lunasec.client.LunaSec;
import io.lunasec.client.LunaSecException;
import io.lunasec.client.Sidecar;
import io.lunasec.client.Token;
import io.lunasec.client.Value;
import io.micrometer.core.instrument.MeterRegistry;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.springframework.boot.WebApplicationType;
import org.springframework.boot.autoconfigure.AutoConfigurations;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.boot.test.context.runner.ApplicationContextRunner;
import org.springframework.boot.test.system.CapturedOutput;
import org.springframework.boot.test.system.OutputCaptureExtension;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.core.convert.support.DefaultConversionService;
import org.springframework.mock.web.MockHttpServletRequest;
import org.springframework.web.bind.WebDataBinder;

/** A whole application, over HTTP, beside the sidecar itself. */
class StarterTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private final HttpClient http = HttpClient.newHttpClient();
    private static Sidecar sidecar;
    private static ConfigurableApplicationContext application;
    private static String base;

    @BeforeAll
    static void start() {
        sidecar = Sidecar.started();
        application = new SpringApplicationBuilder(Shop.class)
                .web(WebApplicationType.SERVLET)
                .properties(
                        "server.port=0",
                        "server.address=127.0.0.1",
                        "spring.main.banner-mode=off",
                        "logging.level.root=warn",
                        "spring.mvc.log-resolved-exception=true",
                        "management.endpoints.web.exposure.include=health,metrics",
                        "management.endpoint.health.show-details=always",
                        "management.health.diskspace.enabled=false",
                        "lunasec.socket=" + sidecar.socket(),
                        "lunasec.restart-grace=100ms",
                        "lunasec.retry.attempts=2")
                .run();
        base = "http://127.0.0.1:" + application.getEnvironment().getProperty("local.server.port");
    }

    @AfterAll
    static void stop() {
        application.close();
        sidecar.close();
    }

    private HttpResponse<String> get(String path, String user) throws IOException, InterruptedException {
        return send(HttpRequest.newBuilder(URI.create(base + path)), user);
    }

    private HttpResponse<String> send(HttpRequest.Builder request, String user)
            throws IOException, InterruptedException {
        if (user != null) {
            request.header("x-user", user);
        }
        return http.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    private String keep(String number, String user) throws IOException, InterruptedException {
        HttpResponse<String> kept = send(
                HttpRequest.newBuilder(URI.create(base + "/cards")).POST(HttpRequest.BodyPublishers.ofString(number)),
                user);
        assertThat(kept.statusCode()).as(kept.body()).isEqualTo(200);
        return JSON.readTree(kept.body()).path("token").asText();
    }

    @Test
    void aControllerSpeaksForWhoMadeTheRequest() throws Exception {
        String token = keep("4111 1111", "alice");
        assertThat(get("/cards/" + token, "alice").body()).isEqualTo("{\"number\":\"4111 1111\"}");
        HttpResponse<String> nobody = get("/cards/" + token, null);
        assertThat(nobody.statusCode()).isEqualTo(401);
        assertThat(JSON.readTree(nobody.body()).path("code").asText()).isEqualTo("unauthenticated");
    }

    @Test
    void aValueThatIsAnsweredByMistakeIsRedacted() throws Exception {
        String token = keep("4111 1111", "alice");
        String body = get("/raw/" + token, null).body();
        assertThat(body).contains("[lunasec plaintext").doesNotContain("4111").doesNotContain(token);
    }

    private HttpResponse<String> form(String card) throws IOException, InterruptedException {
        return send(
                HttpRequest.newBuilder(URI.create(base + "/forms"))
                        .header("content-type", "application/json")
                        .POST(HttpRequest.BodyPublishers.ofString("{\"card\":\"" + card + "\"}")),
                null);
    }

    @Test
    void aFormThatHoldsAValueInsteadOfATokenIsRefused() throws Exception {
        for (String card :
                List.of("4111 1111 1111 1111", "lunasec-4111", "LUNASEC-00000000-0000-4000-8000-000000004111")) {
            HttpResponse<String> refused = form(card);
            assertThat(refused.statusCode()).isEqualTo(400);
            assertThat(refused.body()).contains("This is not a token.").doesNotContain("4111");
        }
        String token = keep("4111 1111", "alice");
        assertThat(form(token).body()).isEqualTo("{\"kept\":\"" + token + "\"}");
    }

    private HttpResponse<String> way(String path, String type, String body) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base + "/ways/" + path));
        if (body != null) {
            request.header("content-type", type).POST(HttpRequest.BodyPublishers.ofString(body));
        }
        return send(request, null);
    }

    private List<HttpResponse<String>> eachWay(String card) throws Exception {
        List<HttpResponse<String>> answers = new ArrayList<>();
        for (String get : List.of("parameter?card=", "parameters?card=", "perhaps?card=", "path/")) {
            answers.add(way(get + card, null, null));
        }
        for (String header : List.of("x-card", "cookie")) {
            String path = header.equals("cookie") ? "cookie" : "header";
            String value = header.equals("cookie") ? "card=" + card : card;
            HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base + "/ways/" + path));
            answers.add(send(request.header(header, value), null));
        }
        for (String form : List.of("filled", "made")) {
            for (String field : List.of("card=", "more=", "more[0]=")) {
                answers.add(way(form, "application/x-www-form-urlencoded", field + card));
            }
        }
        return answers;
    }

    @Test
    @ExtendWith(OutputCaptureExtension.class)
    void whatIsNoTokenReachesNoHandlerAndNoLog(CapturedOutput output) throws Exception {
        for (HttpResponse<String> refused : eachWay("4111222233334444")) {
            String which = refused.request().uri() + " " + refused.body();
            assertThat(refused.statusCode()).as(which).isEqualTo(400);
            assertThat(refused.body())
                    .as(which)
                    .contains("This is not a token.")
                    .doesNotContain("4111");
        }
        for (String empty : List.of("parameter?card=", "parameter?card=%20", "perhaps?card=x")) {
            assertThat(way(empty, null, null).statusCode()).as(empty).isEqualTo(400);
        }
        for (String json : List.of("4111222233334444", "4111.5", "true", "[\"4111\"]", "{\"text\":\"4111\"}")) {
            String body = "{\"card\":" + json + "}";
            for (String path : List.of("/forms", "/ways/value")) {
                HttpResponse<String> refused = send(
                        HttpRequest.newBuilder(URI.create(base + path))
                                .header("content-type", "application/json")
                                .POST(HttpRequest.BodyPublishers.ofString(body)),
                        null);
                assertThat(refused.statusCode()).as(path + body).isIn(400, 418);
                assertThat(refused.body()).doesNotContain("4111");
            }
        }
        way("keys", "application/json", "{\"by\":{\"4111222233334444\":\"x\"}}");
        assertThat(output.getAll()).contains("answered 400: invalid_token").doesNotContain("4111");
    }

    /** An exception of Spring would keep it, for answers and handlers of all kinds. */
    @Test
    void whatIsNoTokenIsNotInAnExceptionOfSpring() {
        WebDataBinder binder = new WebDataBinder(null);
        new LunaSecBinding().tokens(binder);
        assertThatThrownBy(() -> binder.convertIfNecessary("4111", Token.class))
                .isInstanceOf(LunaSecException.InvalidToken.class);
    }

    @Test
    void aTokenReachesEachHandler() throws Exception {
        String token = "lunasec-0f8fad5b-d9cb-469f-a165-70867728950e";
        for (HttpResponse<String> answer : eachWay(token)) {
            assertThat(answer.statusCode())
                    .as(answer.request().uri() + answer.body())
                    .isEqualTo(200);
            assertThat(answer.body()).startsWith("ran");
        }
        assertThat(way("parameter?card=" + token, null, null).body()).isEqualTo("ran " + token);
        HttpResponse<String> value = way("value", "application/json", "{\"card\":\"4111 1111\"}");
        assertThat(value.statusCode()).isEqualTo(200);
        assertThat(value.body()).contains("[lunasec plaintext").doesNotContain("4111");
    }

    @Test
    void aPropertyThatHoldsAValueInsteadOfATokenIsRefused() {
        assertThat(DefaultConversionService.getSharedInstance()
                        .convert("lunasec-0f8fad5b-d9cb-469f-a165-70867728950e", Token.class))
                .isNotNull();
        assertThatThrownBy(() -> DefaultConversionService.getSharedInstance().convert("4111", Token.class))
                .hasRootCauseInstanceOf(LunaSecException.InvalidToken.class);
    }

    @Test
    void aViewMayBeABeanAndItsEndIsNotTheClients() throws Exception {
        String token = keep("4111 1111", "alice");
        Object pages = application.getBean("pages");
        application.getBeanFactory().destroyBean("pages", pages);
        assertThat(get("/cards/" + token, "alice").statusCode()).isEqualTo(200);
    }

    @Test
    void unlessSaidOtherwiseARequestIsItsPrincipalsElseItsHttpSessions() {
        LunaSecSessions sessions = new LunaSecWebAutoConfiguration().lunasecSessions();
        MockHttpServletRequest request = new MockHttpServletRequest();
        assertThat(sessions.of(request)).isEmpty();
        String id = request.getSession(true).getId();
        assertThat(sessions.of(request)).contains(LunaSecSessions.Id.of("visitor:" + id));
        request.setUserPrincipal(() -> "alice");
        assertThat(sessions.of(request)).contains(LunaSecSessions.Id.of("user:alice"));
        request.setUserPrincipal(() -> " ");
        assertThat(sessions.of(request)).isEmpty();
        request.setUserPrincipal(() -> null);
        assertThat(sessions.of(request)).isEmpty();
    }

    @Test
    void aUserWhoseNameIsTheIdOfAVisitorsSessionIsNotThatVisitor() {
        LunaSecSessions sessions = new LunaSecWebAutoConfiguration().lunasecSessions();
        MockHttpServletRequest visitor = new MockHttpServletRequest();
        String id = visitor.getSession(true).getId();
        MockHttpServletRequest user = new MockHttpServletRequest();
        for (String name : List.of(id, "visitor:" + id)) {
            user.setUserPrincipal(() -> name);
            assertThat(sessions.of(user)).isPresent().isNotEqualTo(sessions.of(visitor));
        }
    }

    @Test
    void exceptionsAreProblemsInWordsForTheUser() throws Exception {
        HttpResponse<String> gone = get("/raw/lunasec-00000000-0000-4000-8000-000000000001", null);
        assertThat(gone.statusCode()).isEqualTo(404);
        assertThat(gone.headers().firstValue("content-type")).contains("application/problem+json");
        JsonNode problem = JSON.readTree(gone.body());
        assertThat(problem.path("type").asText()).isEqualTo("urn:lunasec:error:not_found");
        assertThat(problem.path("request_id").asText()).isNotEmpty();
        assertThat(problem.path("retryable").asBoolean()).isFalse();
        HttpResponse<String> bad = get("/raw/no-token", null);
        assertThat(bad.statusCode()).isEqualTo(400);
        assertThat(bad.body()).doesNotContain("no-token").contains("This is not a token.");
    }

    @Test
    void anOutageIs503AndDownAndOverWhenItIsOver() throws Exception {
        String token = keep("4111 1111", "alice");
        JsonNode up = JSON.readTree(get("/actuator/health", null).body());
        assertThat(up.path("components").path("lunasec").path("status").asText())
                .isEqualTo("UP");
        assertThat(up.at("/components/lunasec/details/storage").asText()).isEqualTo("up");
        sidecar.kill();
        HttpResponse<String> away = get("/cards/" + token, "alice");
        assertThat(away.statusCode()).isEqualTo(503);
        assertThat(away.headers().firstValue("retry-after")).contains("1");
        assertThat(JSON.readTree(away.body()).path("code").asText()).isEqualTo("sidecar_unreachable");
        assertThat(away.body()).doesNotContain(sidecar.socket());
        JsonNode down = JSON.readTree(get("/actuator/health", null).body());
        assertThat(down.at("/components/lunasec/status").asText()).isEqualTo("DOWN");
        sidecar.start();
        assertThat(get("/cards/" + token, "alice").statusCode()).isEqualTo(200);
    }

    @Test
    void requestsAreMeteredByOperationAndCode() throws Exception {
        MeterRegistry meters = application.getBean(MeterRegistry.class);
        String token = keep("4111 1111", "alice");
        long before = count(meters, "tokenize", "ok");
        keep("4222 2222", "alice");
        get("/raw/lunasec-00000000-0000-4000-8000-000000000001", null);
        assertThat(count(meters, "tokenize", "ok")).isEqualTo(before + 1);
        assertThat(count(meters, "detokenize", "not_found")).isPositive();
        String printed = meters.getMeters().stream()
                .map(each -> each.getId().toString())
                .toList()
                .toString();
        assertThat(printed).contains("lunasec.requests").doesNotContain(token).doesNotContain("alice");
    }

    private static long count(MeterRegistry meters, String operation, String code) {
        return meters.get("lunasec.requests")
                .tags("operation", operation, "code", code)
                .timer()
                .count();
    }

    @Test
    void usersAtTheSameTimeGetTheirOwn() throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(32);
        List<Callable<Void>> users = new ArrayList<>();
        for (int at = 0; at < 64; at++) {
            String user = "user-" + at;
            users.add(() -> {
                String token = keep("card of " + user, user);
                assertThat(get("/cards/" + token, user).body()).contains("card of " + user + "\"");
                return null;
            });
        }
        for (Future<Void> each : threads.invokeAll(users)) {
            each.get();
        }
        threads.shutdown();
    }

    private ApplicationContextRunner runner() {
        return new ApplicationContextRunner()
                .withConfiguration(AutoConfigurations.of(
                        LunaSecAutoConfiguration.class,
                        LunaSecObservationAutoConfiguration.class,
                        LunaSecHealthAutoConfiguration.class,
                        LunaSecWebAutoConfiguration.class));
    }

    @Test
    void withoutWebOrMetersThereIsStillAClientAndItsHealth() {
        runner().withPropertyValues("lunasec.socket=" + sidecar.socket()).run(context -> {
            assertThat(context).hasSingleBean(LunaSecHealthIndicator.class).doesNotHaveBean(LunaSecProblems.class);
            @SuppressWarnings("unchecked")
            LunaSec<Value> lunasec = context.getBean(LunaSec.class);
            assertThat(lunasec.detokenize(lunasec.tokenize("v").token()).reveal())
                    .isEqualTo("v");
        });
        runner().withPropertyValues("management.health.lunasec.enabled=false")
                .run(context -> assertThat(context).doesNotHaveBean(LunaSecHealthIndicator.class));
    }

    @Test
    void propertiesThatCannotBeEndTheStart() {
        runner().withPropertyValues("lunasec.connections=0").run(context -> assertThat(context)
                .getFailure()
                .rootCause()
                .isInstanceOf(LunaSecException.InvalidRequest.class)
                .hasMessageContaining("connections"));
    }

    @Test
    void aCustomizerHasTheLastWordAndAnOwnClientTakesThePlace() {
        runner().withPropertyValues("lunasec.socket=/tmp/nobody.sock")
                .withBean(LunaSecCustomizer.class, () -> builder -> builder.socket(sidecar.socket()))
                .run(context -> context.getBean(LunaSec.class).ready());
        LunaSec<Value> own = LunaSec.builder().socket(sidecar.socket()).build();
        runner().withBean("lunasec", LunaSec.class, () -> own)
                .run(context -> assertThat(context.getBean(LunaSec.class)).isSameAs(own));
    }

    @Test
    void aDegradedSidecarIsNotDown() {
        var health = LunaSecHealthIndicator.DEGRADED;
        assertThat(new org.springframework.boot.actuate.health.SimpleHttpCodeStatusMapper().getStatusCode(health))
                .isEqualTo(200);
    }
}
