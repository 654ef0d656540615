package io.lunasec.spring;

import io.lunasec.client.LunaSec;
import io.lunasec.client.LunaSecSession;
import io.lunasec.client.Value;
import jakarta.servlet.http.HttpServletRequest;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import org.springframework.core.MethodParameter;
import org.springframework.web.bind.support.WebDataBinderFactory;
import org.springframework.web.context.request.NativeWebRequest;
import org.springframework.web.method.support.HandlerMethodArgumentResolver;
import org.springframework.web.method.support.ModelAndViewContainer;

/** {@code LunaSecSession<Value>} as a parameter of a controller: the session of whoever made the request. */
final class LunaSecSessionArgument implements HandlerMethodArgumentResolver {
    private final LunaSec<Value> lunasec;
    private final LunaSecSessions sessions;

    LunaSecSessionArgument(LunaSec<Value> lunasec, LunaSecSessions sessions) {
        this.lunasec = lunasec;
        this.sessions = sessions;
    }

    /** Of another policy than the bean's, the compiler could not have looked at what comes. */
    @Override
    public boolean supportsParameter(MethodParameter parameter) {
        return parameter.getParameterType() == LunaSecSession.class
                && parameter.getGenericParameterType() instanceof ParameterizedType generic
                && isValue(generic.getActualTypeArguments()[0]);
    }

    private static boolean isValue(Type type) {
        return type == Value.class;
    }

    @Override
    public LunaSecSession<Value> resolveArgument(
            MethodParameter parameter,
            ModelAndViewContainer container,
            NativeWebRequest request,
            WebDataBinderFactory binders) {
        HttpServletRequest http = request.getNativeRequest(HttpServletRequest.class);
        LunaSecSessions.Id id = sessions.of(http).orElseThrow(NotSignedInException::new);
        return id.jwt() == null ? lunasec.forSession(id.session()) : lunasec.forSession(id.session(), id.jwt());
    }
}
