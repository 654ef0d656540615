package io.lunasec.jpa;

import io.lunasec.client.Token;
import jakarta.persistence.Entity;
import jakarta.persistence.GeneratedValue;
import jakarta.persistence.Id;

@Entity
class Customer {
    @Id
    @GeneratedValue
    Long id;

    String name;
    Token card;
    Token phone;

    Customer() {}

    Customer(String name, Token card, Token phone) {
        this.name = name;
        this.card = card;
        this.phone = phone;
    }

    Token card() {
        return card;
    }

    Token phone() {
        return phone;
    }
}
