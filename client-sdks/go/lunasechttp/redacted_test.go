package lunasechttp_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/lunasec-io/lunasec-sidecar/client-sdks/go/lunasechttp"
)

func TestWhoPrintsNeitherASessionNorAJWT(t *testing.T) {
	who := lunasechttp.Who{Session: "secret-session", JWT: "secret-jwt"}
	var out bytes.Buffer
	for _, each := range []any{who, &who, []any{who}, struct{ Who lunasechttp.Who }{who}, map[string]any{"who": who}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&out, verb+"\n", each)
		}
		slog.New(slog.NewTextHandler(&out, nil)).Info("", "who", each)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("", slog.Any("who", each))
		text, err := json.Marshal(each)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
	}
	text, err := xml.Marshal(who)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	fmt.Fprintln(&out, who.String(), who.GoString())
	if strings.Contains(out.String(), "secret-") || strings.Contains(out.String(), fmt.Sprintf("%x", "secret-")) {
		t.Errorf("it shows what it knows: %s", out.String())
	}
}
