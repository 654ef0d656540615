package shop;

import io.lunasec.client.TokenizeOptions;
import jakarta.persistence.Entity;
import jakarta.persistence.GeneratedValue;
import jakarta.persistence.GenerationType;
import jakarta.persistence.Id;
import jakarta.persistence.Table;
import java.util.UUID;

/** An order of one customer, under an id that the shop made. */
@Entity
@Table(name = "orders")
public class Order {
    @Id
    @GeneratedValue(strategy = GenerationType.UUID)
    private UUID id;

    private String customer;

    protected Order() {}

    Order(String customer) {
        this.customer = customer;
    }

    public UUID id() {
        return id;
    }

    public String customer() {
        return customer;
    }

    /** For one value of it: whoever has a key gets the token that it was used for, so that no key is a customer's to choose. */
    TokenizeOptions key(String what) {
        UUID ofCustomer = UUID.nameUUIDFromBytes(customer.getBytes(java.nio.charset.StandardCharsets.UTF_8));
        return TokenizeOptions.none().idempotencyKey(ofCustomer + "-" + id + "-" + what);
    }
}
