package io.lunasec.spring;

import io.lunasec.client.LunaSecException;
import io.lunasec.client.Token;
import java.beans.PropertyEditorSupport;
import org.springframework.beans.PropertyAccessException;
import org.springframework.core.convert.ConversionFailedException;
import org.springframework.core.convert.TypeDescriptor;
import org.springframework.core.convert.converter.Converter;
import org.springframework.validation.BindingErrorProcessor;
import org.springframework.validation.BindingResult;
import org.springframework.web.bind.WebDataBinder;
import org.springframework.web.bind.annotation.ControllerAdvice;
import org.springframework.web.bind.annotation.InitBinder;

/**
 * {@link Token} as a parameter of a controller, or in a form: what is none is refused before the handler runs. Spring's own exceptions of
 * that quote what was sent, and it logs them.
 */
@ControllerAdvice
final class LunaSecBinding {
    @InitBinder
    void tokens(WebDataBinder binder) {
        binder.registerCustomEditor(Token.class, new Editor());
        binder.setBindingErrorProcessor(new Unquoted(binder.getBindingErrorProcessor()));
    }

    /** What it throws is thrown as it is. */
    private static final class Editor extends PropertyEditorSupport {
        @Override
        public void setAsText(String text) {
            setValue(Token.parse(text));
        }

        @Override
        public String getAsText() {
            return getValue() == null ? "" : getValue().toString();
        }
    }

    /** In lists and the like no editor is asked. */
    static final class Strict implements Converter<String, Token> {
        @Override
        public Token convert(String text) {
            try {
                return Token.parse(text);
            } catch (LunaSecException refused) {
                // Spring would make one of its own, with the text.
                throw new ConversionFailedException(
                        TypeDescriptor.valueOf(String.class), TypeDescriptor.valueOf(Token.class), null, refused);
            }
        }
    }

    /** An error of a field would keep, and print, what was sent. */
    private record Unquoted(BindingErrorProcessor others) implements BindingErrorProcessor {
        @Override
        public void processMissingFieldError(String field, BindingResult result) {
            others.processMissingFieldError(field, result);
        }

        @Override
        public void processPropertyAccessException(PropertyAccessException error, BindingResult result) {
            for (Throwable each = error.getCause(); each != null; each = each.getCause()) {
                if (each instanceof LunaSecException ours) {
                    throw ours;
                }
            }
            others.processPropertyAccessException(error, result);
        }
    }
}
