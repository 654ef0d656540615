package io.lunasec.jpa;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.lunasec.client.Failed;
import io.lunasec.client.LunaSec;
import io.lunasec.client.LunaSecException;
import io.lunasec.client.Masked;
import io.lunasec.client.OnUnavailable;
import io.lunasec.client.Sidecar;
import io.lunasec.client.Token;
import io.lunasec.client.TokenizeItem;
import io.lunasec.client.Tokenized;
import io.lunasec.client.Value;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.hibernate.Session;
import org.hibernate.SessionFactory;
import org.hibernate.cfg.Configuration;
import org.hibernate.exception.ConstraintViolationException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Hibernate with H2, and the sidecar itself. */
class JpaTest {
    private Sidecar sidecar;
    private LunaSec<Value> lunasec;
    private SessionFactory factory;

    @BeforeEach
    void start() {
        sidecar = Sidecar.started();
        lunasec = LunaSec.builder()
                .socket(sidecar.socket())
                .restartGrace(Duration.ofMillis(100))
                .build();
        factory = new Configuration()
                .addAnnotatedClass(Customer.class)
                .addAttributeConverter(TokenConverter.class, true)
                .setProperty("hibernate.connection.url", "jdbc:h2:mem:" + System.nanoTime() + ";DB_CLOSE_DELAY=-1")
                .setProperty("hibernate.hbm2ddl.auto", "create")
                .setProperty("hibernate.show_sql", "false")
                .buildSessionFactory();
    }

    @AfterEach
    void stop() {
        factory.close();
        lunasec.close();
        sidecar.close();
    }

    private <T> T inSession(Function<Session, T> work) {
        return factory.fromTransaction(work::apply);
    }

    private void keep(int customers) {
        List<TokenizeItem> values = new ArrayList<>();
        for (int at = 0; at < customers; at++) {
            values.add(TokenizeItem.of("card " + at));
        }
        List<Token> cards = new ArrayList<>();
        for (int from = 0; from < customers; from += 1_000) {
            lunasec.tokenizeBatch(values.subList(from, Math.min(customers, from + 1_000)))
                    .forEach(item -> cards.add(((Tokenized) item).token()));
        }
        inSession(session -> {
            for (int at = 0; at < customers; at++) {
                session.persist(new Customer("customer " + at, cards.get(at), null));
            }
            return null;
        });
    }

    private List<Customer> all() {
        return inSession(session ->
                session.createQuery("from Customer order by id", Customer.class).list());
    }

    @Test
    void theColumnHoldsTheTextOfATokenAndNullIsNull() {
        Token token = lunasec.tokenize("4111 1111").token();
        inSession(session -> {
            session.persist(new Customer("Zoë", token, null));
            return null;
        });
        Object column = inSession(session -> session.createNativeQuery("select card from Customer", String.class)
                .getSingleResult());
        assertEquals(token.expose(), column);
        Customer read = inSession(session -> session.createQuery("from Customer where card = ?1", Customer.class)
                .setParameter(1, token)
                .getSingleResult());
        assertEquals(token, read.card());
        assertNull(read.phone());
    }

    @Test
    void aRedactedTokenInAColumnIsRefusedWithWords() {
        TokenConverter converter = new TokenConverter();
        String printed = Token.of("lunasec-1").toString();
        var error =
                assertThrows(LunaSecException.InvalidToken.class, () -> converter.convertToEntityAttribute(printed));
        assertTrue(error.detail().contains("what was stored here is lost"), error.detail());
    }

    @Test
    void whatIsNoTokenIsNeitherWrittenNorRead() {
        String number = "4111 1111 1111 1111";
        TokenConverter converter = new TokenConverter();
        assertNoToken(assertThrows(Exception.class, () -> converter.convertToDatabaseColumn(Token.of(number))));
        assertNoToken(assertThrows(Exception.class, () -> converter.convertToEntityAttribute(number)));
        Exception written = assertThrows(
                Exception.class,
                () -> inSession(session -> {
                    session.persist(new Customer("Zoë", Token.of(number), null));
                    return null;
                }));
        assertNoToken(written);
        assertEquals(List.of(), all());
        inSession(session -> session.createNativeMutationQuery(
                        "insert into Customer (id, name, card) values (1, 'Zoë', '" + number + "')")
                .executeUpdate());
        assertNoToken(assertThrows(Exception.class, this::all));
    }

    /** As in the README: a converter sees neither literals nor native statements. */
    @Test
    void theDatabaseRefusesWhatNoConverterSees() {
        Token token = lunasec.tokenize("4111 1111").token();
        inSession(session -> {
            session.persist(new Customer("Zoë", token, null));
            return session.createNativeMutationQuery("ALTER TABLE customer ADD CONSTRAINT card_is_a_token CHECK (card ~"
                            + " '^lunasec-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$')")
                    .executeUpdate();
        });
        String update = "update Customer set card = '4111 1111 1111 1111'";
        assertThrows(
                ConstraintViolationException.class,
                () -> inSession(session -> session.createMutationQuery(update).executeUpdate()));
        assertThrows(
                ConstraintViolationException.class,
                () -> inSession(
                        session -> session.createNativeMutationQuery(update).executeUpdate()));
        assertEquals(token, all().get(0).card());
        inSession(session -> {
            session.persist(new Customer("nobody", null, null));
            return null;
        });
        assertEquals(2, all().size());
    }

    private static void assertNoToken(Throwable error) {
        boolean refused = false;
        for (Throwable each = error; each != null; each = each.getCause()) {
            refused |= each instanceof LunaSecException.InvalidToken;
            assertFalse(String.valueOf(each.getMessage()).contains("4111"), each.getMessage());
        }
        assertTrue(refused, String.valueOf(error));
    }

    @Test
    void itMayBeAskedForInTheOneThreadThatCompletesFutures() throws Exception {
        keep(1_500);
        List<Customer> customers = all();
        ExecutorService one = Executors.newSingleThreadExecutor();
        try (LunaSec<Value> narrow =
                LunaSec.builder().socket(sidecar.socket()).executor(one).build()) {
            int size = one.submit(() ->
                            Revealing.of(narrow, customers, Customer::card).size())
                    .get(10, TimeUnit.SECONDS);
            assertEquals(1_500, size);
        }
        one.shutdownNow();
    }

    @Test
    void aListIsRevealedAtOnce() {
        keep(1_500);
        List<Customer> customers = all();
        Revealing revealed = Revealing.of(lunasec, customers, Customer::card, Customer::phone);
        assertEquals(1_500, revealed.size());
        for (int at = 0; at < 1_500; at++) {
            assertEquals("card " + at, ((Value) revealed.get(customers.get(at).card())).reveal());
        }
        assertThrows(NoSuchElementException.class, () -> revealed.get(Token.of("lunasec-other")));
        assertEquals("Revealing[1500 tokens]", revealed.toString());
        assertEquals(
                0, Revealing.of(lunasec, List.<Customer>of(), Customer::card).size());
    }

    @Test
    void aTokenThatIsGoneFailsAloneAndAnOutageIsMasked() {
        keep(3);
        List<Customer> customers = all();
        lunasec.delete(List.of(customers.get(1).card()));
        Revealing revealed = Revealing.of(lunasec, customers, Customer::card);
        assertInstanceOf(Value.class, revealed.get(customers.get(0).card()));
        Failed gone =
                assertInstanceOf(Failed.class, revealed.get(customers.get(1).card()));
        assertInstanceOf(LunaSecException.Gone.class, gone.error());
        sidecar.kill();
        var masking = lunasec.onUnavailable(OnUnavailable.mask());
        assertInstanceOf(
                Masked.class,
                Revealing.of(masking, customers, Customer::card)
                        .get(customers.get(0).card()));
        assertThrows(LunaSecException.SidecarUnreachable.class, () -> Revealing.of(lunasec, customers, Customer::card));
    }

    @Test
    void sessionsSeeWhatTheyWereGrantedAtTheSameTime() throws Exception {
        keep(20);
        List<Customer> customers = all();
        ExecutorService threads = Executors.newFixedThreadPool(20);
        List<Callable<Void>> work = new ArrayList<>();
        for (int at = 0; at < 20; at++) {
            Customer mine = customers.get(at);
            String expected = "card " + at;
            var session = lunasec.forSession("session " + at);
            work.add(() -> {
                session.grant(List.of(mine.card()));
                Revealing revealed = Revealing.of(session, List.of(mine), Customer::card);
                assertEquals(expected, ((Value) revealed.get(mine.card())).reveal());
                return null;
            });
        }
        for (Future<Void> each : threads.invokeAll(work)) {
            each.get();
        }
        threads.shutdown();
    }
}
