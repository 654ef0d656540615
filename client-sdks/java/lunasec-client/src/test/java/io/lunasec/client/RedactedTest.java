package io.lunasec.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.cfg.CoercionAction;
import com.fasterxml.jackson.databind.cfg.CoercionInputShape;
import com.fasterxml.jackson.databind.type.LogicalType;
import com.fasterxml.jackson.datatype.jdk8.Jdk8Module;
import com.google.gson.GsonBuilder;
import io.lunasec.client.LunaSecException.InvalidRequest;
import io.lunasec.client.LunaSecException.InvalidToken;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.NotSerializableException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;

/** Tokens and values print redacted wherever Java prints by itself, and what was printed is refused. */
class RedactedTest {
    private static final String TEXT = "lunasec-0f8fad5b-d9cb-469f-a165-70867728950e";
    private static final Token TOKEN = Token.of(TEXT);
    private static final Plaintext SECRET = Plaintext.of("4111 1111");

    @Test
    void textsOfTokensAndValuesAreRedacted() {
        Value value = new Value(TOKEN, SECRET, Optional.empty());
        LunaSecException away = LunaSecException.of(new LunaSecException.Facts("overloaded", "busy").retryable(true));
        List<Object> all = List.of(
                TOKEN,
                SECRET,
                Plaintext.of(new byte[] {52, 49, 49, 49}),
                value,
                new Tokenized(TOKEN, Durability.STORED),
                new Failed(Optional.of(TOKEN), away),
                new Fallback(TOKEN, "4111 1111", (LunaSecException.Unavailable) away),
                TokenizeItem.of(SECRET).metadata("{\"a\":\"4111 1111\"}"),
                Map.of(TOKEN, SECRET),
                Unit.of(TOKEN));
        for (Object each : all) {
            for (String printed :
                    List.of("" + each, String.format("%s", each), String.valueOf(each), List.of(each) + "")) {
                assertFalse(printed.contains("4111") || printed.contains("0f8fad5b"), printed);
            }
        }
        assertEquals("[lunasec token: .expose() gives its text]", TOKEN.toString());
        assertEquals("[lunasec plaintext: .reveal() gives its text]", SECRET.toString());
    }

    @Test
    void serializersPrintThemRedactedOrRefuse() throws Exception {
        Value value = new Value(TOKEN, SECRET, Optional.empty());
        String jackson = new ObjectMapper().registerModule(new Jdk8Module()).writeValueAsString(value);
        assertTrue(jackson.contains("[lunasec token") && jackson.contains("[lunasec plaintext"), jackson);
        assertFalse(jackson.contains("4111") || jackson.contains("0f8fad5b"), jackson);
        String gson = new GsonBuilder().create().toJson(List.of(TOKEN, SECRET));
        assertFalse(gson.contains("4111") || gson.contains("0f8fad5b"), gson);
        for (Object secret : List.of(TOKEN, SECRET)) {
            assertThrows(NotSerializableException.class, () -> serialized(secret));
        }
    }

    @Test
    void jacksonReadsATokenFromItsTextAndRefusesAPrint() throws Exception {
        ObjectMapper json = new ObjectMapper();
        assertEquals(TOKEN, json.readValue('"' + TEXT + '"', Token.class));
        Exception refused =
                assertThrows(Exception.class, () -> json.readValue('"' + TOKEN.toString() + '"', Token.class));
        assertTrue(String.valueOf(refused).contains("this is how a Token prints"), String.valueOf(refused));
    }

    record Body(Token token, Plaintext plaintext) {}

    /** Spring logs what Jackson says. */
    @Test
    void whatJsonHasInsteadOfATextIsRefusedWithoutQuotingIt() throws Exception {
        ObjectMapper plain = new ObjectMapper();
        ObjectMapper decimals = new ObjectMapper().enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS);
        ObjectMapper strict = new ObjectMapper();
        strict.coercionConfigFor(LogicalType.Textual)
                .setCoercion(CoercionInputShape.Integer, CoercionAction.Fail)
                .setCoercion(CoercionInputShape.Float, CoercionAction.Fail);
        for (ObjectMapper json : List.of(plain, decimals, strict)) {
            for (String field : List.of("token", "plaintext")) {
                for (String said : List.of(
                        "4111",
                        "4111222233334444",
                        "411122223333444455556666",
                        "4111222233334444.5",
                        "4111e4111",
                        "true",
                        "[\"4111\"]",
                        "[4111]",
                        "{\"text\":\"4111\"}",
                        "{\"text\":4111}")) {
                    String body = "{\"" + field + "\":" + said + "}";
                    Exception refused = assertThrows(Exception.class, () -> json.readValue(body, Body.class), body);
                    assertUnquoted(refused);
                    assertUnquoted(assertThrows(
                            Exception.class, () -> json.treeToValue(json.readTree(body), Body.class), body));
                }
            }
            assertEquals(
                    new Body(TOKEN, SECRET),
                    json.readValue("{\"token\":\"" + TEXT + "\",\"plaintext\":\"4111 1111\"}", Body.class));
        }
    }

    @Test
    void theyAreNoKeysOfMapsThatAreReadAndNoneIsQuoted() {
        ObjectMapper json = new ObjectMapper();
        for (var type :
                List.of(new TypeReference<Map<Token, String>>() {}, new TypeReference<Map<Plaintext, String>>() {})) {
            for (String key : List.of("4111 1111", TEXT)) {
                String body = "{\"" + key + "\":\"x\"}";
                assertUnquoted(assertThrows(Exception.class, () -> json.readValue(body, type)));
            }
        }
    }

    private static void assertUnquoted(Throwable error) {
        for (Throwable each = error; each != null; each = each.getCause()) {
            String words = String.valueOf(each.getMessage());
            assertFalse(words.contains("4111") || words.contains("0f8fad5b"), words);
        }
    }

    @Test
    void whatAStrangerSentIsATokenOnlyInItsForm() {
        assertEquals(TOKEN, Token.parse(TEXT));
        for (String text : List.of(
                "",
                "4111 1111 1111 1111",
                TEXT.substring(8),
                TEXT.toUpperCase(java.util.Locale.ROOT),
                TEXT + "\n",
                TEXT.replace("-469f", "-169f"),
                TEXT.replace("-a165", "-c165"),
                "card " + TEXT)) {
            InvalidToken refused = assertThrows(InvalidToken.class, () -> Token.parse(text), text);
            assertThrows(InvalidToken.class, () -> Token.valueOf(text), text);
            assertFalse(refused.getMessage().contains("4111")
                    || refused.getMessage().contains("0f8fad5b"));
            assertThrows(Exception.class, () -> new ObjectMapper().readValue('"' + text.strip() + " \"", Token.class));
        }
    }

    @Test
    void anExceptionIsSerializedWithoutWhatItHolds() throws Exception {
        for (String code : List.of("not_found", "grant_denied", "newer")) {
            byte[] bytes = serialized(LunaSecException.of(code, "words"));
            try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(bytes))) {
                Throwable read = (Throwable) in.readObject();
                assertEquals(code + ": words", read.getMessage());
                assertEquals(IllegalStateException.class, read.getClass());
            }
        }
    }

    private static byte[] serialized(Object value) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
            out.writeObject(value);
        }
        return bytes.toByteArray();
    }

    @Test
    void theyAreEqualByWhatIsInside() {
        assertEquals(TOKEN, Token.of(TEXT));
        assertEquals(TOKEN.hashCode(), Token.of(TEXT).hashCode());
        assertNotEquals(TOKEN, Token.of(TEXT.replace('0', '1')));
        assertEquals(SECRET, Plaintext.of("4111 1111"));
        assertNotEquals(SECRET, Plaintext.of("4111 1112"));
        assertNotEquals(SECRET, Plaintext.of("4111 1111".getBytes(java.nio.charset.StandardCharsets.UTF_8)));
        Set<Object> set = new HashSet<>(List.of(TOKEN, SECRET));
        assertTrue(set.contains(Token.of(TEXT)) && set.contains(Plaintext.of("4111 1111")));
        assertNotEquals(TEXT.hashCode(), TOKEN.hashCode());
    }

    @Test
    void bytesAreCopiesAndNoText() {
        byte[] bytes = {1, 2, 3};
        Plaintext plaintext = Plaintext.of(bytes);
        bytes[0] = 9;
        plaintext.revealBytes()[1] = 9;
        assertArrayEquals(new byte[] {1, 2, 3}, plaintext.revealBytes());
        assertThrows(IllegalStateException.class, plaintext::reveal);
    }

    @Test
    void whatWasPrintedIsNoTokenAndNoValue() {
        assertThrows(InvalidToken.class, () -> Token.of(TOKEN.toString()));
        assertThrows(InvalidToken.class, () -> Token.of("card: " + SECRET));
        assertThrows(InvalidToken.class, () -> Token.of("\ud83c"));
        for (String none : List.of(SECRET.toString(), "" + TOKEN, Limits.MASK, " •••• ", "\udf19 lone")) {
            assertThrows(InvalidRequest.class, () -> Values.unit(Plaintext.of(none), null, null), none);
        }
        byte[] mask = Limits.MASK.getBytes(java.nio.charset.StandardCharsets.UTF_8);
        assertThrows(InvalidRequest.class, () -> Values.unit(Plaintext.of(mask), null, null));
        String metadata = "{\"card\":\"" + SECRET + "\"}";
        assertThrows(InvalidRequest.class, () -> Values.unit(SECRET, metadata, null));
        assertThrows(InvalidRequest.class, () -> Values.unit(Plaintext.ofBase64("no base64!"), null, null));
    }

    @Test
    void clientsAndSessionsPrintNoSession() {
        try (LunaSec<Value> client = LunaSec.builder()
                .socket("/tmp/none.sock")
                .jwt("jwt.of.alice")
                .telemetry(null)
                .build()) {
            String printed = client + " " + client.forSession("alice-session") + client.async();
            assertFalse(printed.contains("alice"), printed);
            assertTrue(printed.contains("LunaSec[policy fail]"), printed);
        }
    }

    @Test
    void aStackTraceHoldsNoToken() {
        StringWriter trace = new StringWriter();
        LunaSecException.of("not_found", "no such token").printStackTrace(new PrintWriter(trace));
        assertTrue(trace.toString().contains("NotFound: not_found: no such token"), trace.toString());
    }
}
