package io.lunasec.jpa;

import io.lunasec.client.Token;
import jakarta.persistence.AttributeConverter;
import jakarta.persistence.Converter;

/**
 * Keeps a {@link Token} attribute as the text of its column, of 44 characters. It applies to every such attribute where the
 * persistence unit lists this class, or an entity scan finds it. Null is null. What is no token is neither written nor read.
 */
@Converter(autoApply = true)
public final class TokenConverter implements AttributeConverter<Token, String> {
    /** Made by the persistence provider. */
    public TokenConverter() {}

    @Override
    public String convertToDatabaseColumn(Token token) {
        return token == null ? null : Token.parse(token.expose()).expose();
    }

    @Override
    public Token convertToEntityAttribute(String text) {
        return text == null ? null : Token.parse(text);
    }
}
