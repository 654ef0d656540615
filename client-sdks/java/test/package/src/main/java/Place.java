import io.lunasec.client.LunaSec;
import io.lunasec.client.Token;
import io.lunasec.client.Value;

/** What somebody does who has just installed the packages, and nothing of this repository. */
public class Place {
    public static void main(String[] arguments) throws Exception {
        try (LunaSec<Value> lunasec = LunaSec.create()) {
            Token token = lunasec.tokenize("4111 1111").token();
            if (!lunasec.detokenize(token).reveal().equals("4111 1111")) {
                throw new AssertionError("another value came back");
            }
        }
        Class.forName("io.lunasec.jpa.Revealing");
        Class.forName("io.lunasec.spring.LunaSecProperties");
        System.out.println("a clean place uses the packages");
    }
}
