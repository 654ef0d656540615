package shop;

import io.lunasec.client.Failed;
import io.lunasec.client.Fallback;
import io.lunasec.client.LunaSecSession;
import io.lunasec.client.Masked;
import io.lunasec.client.Plaintext;
import io.lunasec.client.Revealed;
import io.lunasec.client.RevealedItem;
import io.lunasec.client.Token;
import io.lunasec.client.Value;
import io.lunasec.jpa.Revealing;
import java.util.List;
import java.util.UUID;
import org.springframework.http.HttpStatus;
import org.springframework.web.bind.annotation.GetMapping;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RequestBody;
import org.springframework.web.bind.annotation.RequestHeader;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.server.ResponseStatusException;

/** Buying, looking at what one bought, and the list of deliveries for staff. */
@RestController
class PurchaseController {
    private final Purchases purchases;
    private final Orders orders;
    private final LunaSecSession<Revealed> staff;

    PurchaseController(Purchases purchases, Orders orders, LunaSecSession<Revealed> staff) {
        this.purchases = purchases;
        this.orders = orders;
        this.staff = staff;
    }

    record Wish(String goods, Plaintext card, Plaintext address) {
        Wish(String goods, String card, String address) {
            this(goods, Plaintext.of(card), Plaintext.of(address));
        }
    }

    /** The words of a form, as they come; they are wrapped at once, so that no log shows them. */
    record Form(String goods, String card, String address) {
        Wish wish() {
            return new Wish(goods, card, address);
        }

        @Override
        public String toString() {
            return "Form[" + goods + "]";
        }
    }

    record Bought(Long id) {}

    record Shown(String goods, String card, String address) {}

    record Started(UUID order) {}

    /** What a browser names when it sends its form. The shop makes it: nobody can name somebody else's. */
    @PostMapping("/orders")
    Started start(LunaSecSession<Value> session, @RequestHeader("x-customer") String customer) {
        return new Started(orders.save(new Order(customer)).id());
    }

    /** A browser that sends its order twice keeps one token. */
    @PostMapping("/purchases")
    Bought buy(
            @RequestBody Form form,
            @RequestHeader("x-order") UUID order,
            LunaSecSession<Value> customer,
            @RequestHeader("x-customer") String id) {
        Order own = orders.findById(order)
                .filter(each -> each.customer().equals(id))
                .orElseThrow(() -> new ResponseStatusException(HttpStatus.NOT_FOUND));
        Wish wish = form.wish();
        Token card = customer.tokenize(wish.card(), own.key("card")).token();
        Token address = customer.tokenize(wish.address(), own.key("address")).token();
        customer.grant(List.of(card, address));
        staff.grant(List.of(address));
        return new Bought(
                purchases.save(new Purchase(wish.goods(), card, address)).id());
    }

    @GetMapping("/purchases/{id}")
    Shown look(@PathVariable Long id, LunaSecSession<Value> customer) {
        Purchase purchase = purchases.findById(id).orElseThrow(() -> new ResponseStatusException(HttpStatus.NOT_FOUND));
        String card = customer.detokenize(purchase.card()).reveal();
        String address = customer.detokenize(purchase.address()).reveal();
        return new Shown(purchase.goods(), "•• " + card.substring(card.length() - 4), address);
    }

    @GetMapping("/deliveries")
    List<Shown> deliveries() {
        List<Purchase> all = purchases.findAll();
        Revealing addresses = Revealing.of(staff, all, Purchase::address);
        return all.stream()
                .map(each -> new Shown(each.goods(), null, text(addresses.get(each.address()))))
                .toList();
    }

    private static String text(RevealedItem item) {
        if (item instanceof Value value) {
            return value.reveal();
        } else if (item instanceof Masked masked) {
            return masked.text();
        } else if (item instanceof Fallback fallback) {
            return String.valueOf(fallback.value());
        }
        return "(" + ((Failed) item).error().code() + ")";
    }
}
