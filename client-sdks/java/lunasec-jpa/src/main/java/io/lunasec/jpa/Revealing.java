package io.lunasec.jpa;

import io.lunasec.client.LunaSecException;
import io.lunasec.client.RevealedItem;
import io.lunasec.client.Token;
import io.lunasec.client.Tokenizer;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Set;
import java.util.function.Function;

/**
 * The values of a list of entities, asked for in one request for each thousand tokens instead of one for each entity.
 *
 * <pre>{@code
 * List<Customer> customers = repository.findAll();
 * Revealing revealed = Revealing.of(lunasec, customers, Customer::card, Customer::phone);
 * for (Customer each : customers) {
 *     if (revealed.get(each.card()) instanceof Value card) { … }
 * }
 * }</pre>
 *
 * <p>It holds values: keep it for no longer than the request that it is for.
 */
public final class Revealing {
    private final Map<Token, RevealedItem> items;

    private Revealing(Map<Token, RevealedItem> items) {
        this.items = items;
    }

    /**
     * Asks for all of them, each token once; attributes that are null are left out. Waits in the thread that calls, whichever that is.
     *
     * @param lunasec a client or a session
     * @throws LunaSecException where there was no answer for any, and no policy stands in
     */
    @SafeVarargs
    public static <E> Revealing of(
            Tokenizer<?> lunasec, Collection<? extends E> entities, Function<? super E, Token>... attributes) {
        Set<Token> distinct = new LinkedHashSet<>();
        for (E entity : entities) {
            for (Function<? super E, Token> attribute : attributes) {
                Token token = attribute.apply(entity);
                if (token != null) {
                    distinct.add(token);
                }
            }
        }
        return new Revealing(revealed(lunasec, List.copyOf(distinct)));
    }

    private static Map<Token, RevealedItem> revealed(Tokenizer<?> lunasec, List<Token> tokens) {
        List<RevealedItem> found = lunasec.detokenizeAll(tokens);
        Map<Token, RevealedItem> items = new HashMap<>();
        for (int at = 0; at < tokens.size(); at++) {
            items.put(tokens.get(at), found.get(at));
        }
        return items;
    }

    /**
     * What became of a token: a value, what stands in for it, or why it failed.
     *
     * @throws NoSuchElementException where it was not among those that were asked for
     */
    public RevealedItem get(Token token) {
        RevealedItem item = items.get(token);
        if (item == null) {
            throw new NoSuchElementException("this token is of no entity that was asked for: name its attribute, too");
        }
        return item;
    }

    /** How many tokens were asked for. */
    public int size() {
        return items.size();
    }

    /** Not what it holds. */
    @Override
    public String toString() {
        return "Revealing[" + items.size() + " tokens]";
    }
}
