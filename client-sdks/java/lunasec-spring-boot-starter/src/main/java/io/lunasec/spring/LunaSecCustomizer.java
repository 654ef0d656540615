package io.lunasec.spring;

import io.lunasec.client.LunaSecBuilder;
import io.lunasec.client.Value;

/** A bean of it has the last word on how the client is made: what no property says. */
@FunctionalInterface
public interface LunaSecCustomizer {
    /** Changes the builder, after the properties have. */
    void customize(LunaSecBuilder<Value> builder);
}
