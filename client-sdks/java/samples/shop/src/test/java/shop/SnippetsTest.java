package shop;

import static org.assertj.core.api.Assertions.assertThat;

import io.lunasec.client.LunaSec;
import io.lunasec.client.Sidecar;
import io.lunasec.client.Token;
import io.lunasec.client.Value;
import java.io.StringWriter;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.tools.JavaCompiler;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Each snippet of the README compiles, and runs against a real sidecar. */
class SnippetsTest {
    private static final Path README = Path.of("../../README.md");
    private static final Pattern SNIPPET = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);
    private static final String IMPORTS =
            """
            import io.lunasec.client.*;
            import io.lunasec.jpa.*;
            import java.time.Duration;
            import java.util.*;
            import java.util.concurrent.CompletableFuture;
            import org.springframework.context.annotation.Bean;
            import org.springframework.context.annotation.Configuration;
            import org.springframework.web.bind.annotation.*;
            """;

    private static List<String> snippets() throws Exception {
        List<String> found = new ArrayList<>();
        for (Matcher each = SNIPPET.matcher(Files.readString(README)); each.find(); ) {
            found.add(each.group(1));
        }
        return found;
    }

    /** A class stands for itself; statements are the body of a method. */
    private static String source(int number, String snippet) {
        if (snippet.startsWith("@")) {
            return IMPORTS + "class Snippet" + number + " {}\n" + snippet;
        }
        String at = "LunaSec.builder().socket(System.getProperty(\"snippets.socket\")).build()";
        return IMPORTS + "public class Snippet" + number + " {\n"
                + "public static LunaSec<Value> lunasec;\npublic static Token token;\n"
                + "public static void run() throws Exception {\n" + snippet.replace("LunaSec.create()", at) + "}\n}\n";
    }

    @Test
    void eachCompilesAndRuns(@TempDir Path directory) throws Exception {
        List<String> snippets = snippets();
        assertThat(snippets).hasSizeGreaterThanOrEqualTo(9);
        List<Path> files = new ArrayList<>();
        for (int at = 0; at < snippets.size(); at++) {
            files.add(Files.writeString(directory.resolve("Snippet" + at + ".java"), source(at, snippets.get(at))));
        }
        compile(directory, files);
        try (Sidecar sidecar = Sidecar.started();
                LunaSec<Value> lunasec =
                        LunaSec.builder().socket(sidecar.socket()).build();
                URLClassLoader loader = new URLClassLoader(
                        new URL[] {directory.toUri().toURL()}, getClass().getClassLoader())) {
            System.setProperty("snippets.socket", sidecar.socket());
            Token token = lunasec.tokenize("4111 1111 1111 1111").token();
            int ran = 0;
            for (int at = 0; at < snippets.size(); at++) {
                Class<?> snippet = loader.loadClass("Snippet" + at);
                if (snippets.get(at).startsWith("@")) {
                    continue;
                }
                snippet.getField("lunasec").set(null, lunasec);
                snippet.getField("token").set(null, token);
                snippet.getMethod("run").invoke(null);
                ran++;
            }
            assertThat(ran).isGreaterThanOrEqualTo(8);
        }
    }

    private static void compile(Path directory, List<Path> files) throws Exception {
        JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
        StringWriter said = new StringWriter();
        try (var manager = compiler.getStandardFileManager(null, null, null)) {
            List<String> options = List.of(
                    "-d", directory.toString(), "-parameters", "-classpath", System.getProperty("java.class.path"));
            boolean good = compiler.getTask(
                            said, manager, null, options, null, manager.getJavaFileObjectsFromPaths(files))
                    .call();
            assertThat(good).as(said.toString()).isTrue();
        }
    }
}
