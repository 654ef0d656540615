package shop;

import io.lunasec.client.Token;
import jakarta.persistence.Entity;
import jakarta.persistence.GeneratedValue;
import jakarta.persistence.Id;

/** What was bought; who bought it and how is nothing but tokens. */
@Entity
public class Purchase {
    @Id
    @GeneratedValue
    private Long id;

    private String goods;
    private Token card;
    private Token address;

    protected Purchase() {}

    Purchase(String goods, Token card, Token address) {
        this.goods = goods;
        this.card = card;
        this.address = address;
    }

    public Long id() {
        return id;
    }

    public String goods() {
        return goods;
    }

    public Token card() {
        return card;
    }

    public Token address() {
        return address;
    }
}
