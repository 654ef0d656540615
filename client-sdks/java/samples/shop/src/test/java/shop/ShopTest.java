package shop;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.ObjectMapper;
import io.lunasec.client.Sidecar;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.springframework.boot.builder.SpringApplicationBuilder;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.jdbc.core.JdbcTemplate;

/** The shop over HTTP, beside a real sidecar, also while that is away. */
class ShopTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private final HttpClient http = HttpClient.newHttpClient();
    private static Sidecar sidecar;
    private static ConfigurableApplicationContext shop;
    private static String base;

    @BeforeAll
    static void start() {
        sidecar = Sidecar.started();
        shop = new SpringApplicationBuilder(Shop.class)
                .run(
                        "--server.port=0",
                        "--logging.level.root=warn",
                        "--spring.main.banner-mode=off",
                        "--lunasec.socket=" + sidecar.socket(),
                        "--lunasec.restart-grace=100ms");
        base = "http://127.0.0.1:" + shop.getEnvironment().getProperty("local.server.port");
    }

    @AfterAll
    static void stop() {
        shop.close();
        sidecar.close();
    }

    private HttpResponse<String> send(HttpRequest.Builder request, String customer) throws Exception {
        if (customer != null) {
            request.header("x-customer", customer);
        }
        return http.send(request.build(), HttpResponse.BodyHandlers.ofString());
    }

    private String order(String customer) throws Exception {
        HttpResponse<String> order = send(
                HttpRequest.newBuilder(URI.create(base + "/orders")).POST(HttpRequest.BodyPublishers.noBody()),
                customer);
        return JSON.readTree(order.body()).path("order").asText();
    }

    private HttpResponse<String> buy(String customer, String order) throws Exception {
        String form = JSON.writeValueAsString(
                Map.of("goods", "a lamp", "card", "4111 1111 1111 1234", "address", "Main Street 1"));
        return send(
                HttpRequest.newBuilder(URI.create(base + "/purchases"))
                        .header("content-type", "application/json")
                        .header("x-order", order)
                        .POST(HttpRequest.BodyPublishers.ofString(form)),
                customer);
    }

    private HttpResponse<String> get(String path, String customer) throws Exception {
        return send(HttpRequest.newBuilder(URI.create(base + path)), customer);
    }

    @Test
    void aCustomerBuysAndLooksAndTheDatabaseHoldsTokensOnly() throws Exception {
        HttpResponse<String> bought = buy("alice", order("alice"));
        assertThat(bought.statusCode()).as(bought.body()).isEqualTo(200);
        long id = JSON.readTree(bought.body()).path("id").asLong();
        assertThat(get("/purchases/" + id, "alice").body())
                .contains("•• 1234")
                .contains("Main Street 1")
                .doesNotContain("4111");
        List<Map<String, Object>> rows =
                shop.getBean(JdbcTemplate.class).queryForList("select card, address from purchase where id = " + id);
        assertThat(rows).hasSize(1);
        assertThat(rows.get(0).values()).allMatch(each -> String.valueOf(each).matches("lunasec-[0-9a-f-]{36}"));
        assertThat(get("/purchases/" + id, null).statusCode()).isEqualTo(401);
        assertThat(get("/purchases/77", "alice").statusCode()).isEqualTo(404);
    }

    @Test
    void anOrderThatIsSentTwiceHasOneToken() throws Exception {
        String order = order("alice");
        long first = JSON.readTree(buy("alice", order).body()).path("id").asLong();
        long second = JSON.readTree(buy("alice", order).body()).path("id").asLong();
        List<String> cards = shop.getBean(JdbcTemplate.class)
                .queryForList("select card from purchase where id in (?, ?)", String.class, first, second);
        assertThat(cards).hasSize(2).containsOnly(cards.get(0));
        // Nobody else gets that token by naming the order, nor by a name of their own.
        assertThat(buy("mallory", order).statusCode()).isEqualTo(404);
        assertThat(buy("mallory", "order-1").statusCode()).isEqualTo(400);
        long own = JSON.readTree(buy("mallory", order("mallory")).body())
                .path("id")
                .asLong();
        assertThat(shop.getBean(JdbcTemplate.class)
                        .queryForObject("select card from purchase where id = ?", String.class, own))
                .isNotIn(cards);
    }

    @Test
    void duringAnOutageStaffGoesOnAndCustomersAreToldAndAfterwardsAllIsWell() throws Exception {
        long id = JSON.readTree(buy("alice", order("alice")).body()).path("id").asLong();
        assertThat(get("/deliveries", null).body()).contains("a lamp").contains("Main Street 1");
        sidecar.kill();
        assertThat(get("/deliveries", null).body()).contains("a lamp").contains("••••");
        HttpResponse<String> away = get("/purchases/" + id, "alice");
        assertThat(away.statusCode()).isEqualTo(503);
        assertThat(away.body()).contains("sidecar_unreachable").doesNotContain("lunasec-");
        String order = order("bob");
        assertThat(buy("bob", order).statusCode()).isEqualTo(503);
        sidecar.start();
        assertThat(get("/purchases/" + id, "alice").statusCode()).isEqualTo(200);
        assertThat(buy("bob", order).statusCode()).isEqualTo(200);
    }
}
