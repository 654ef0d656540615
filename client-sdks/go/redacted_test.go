package lunasec

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"text/template"
	"unsafe"
)

const secretToken = "lunasec-0b8f8a52-9d0c-4a57-8d0e-5d9f0c1b2a3e"
const secretValue = "4111 1111 1111 1111"

// prints are all ways in which a value prints by itself.
func prints(t *testing.T, value any) string {
	t.Helper()
	var out bytes.Buffer
	type public struct{ Inside any }
	for _, each := range []any{value, &value, public{value}, struct{ inside any }{value}, []any{value}, map[string]any{"x": value}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10.3s"} {
			fmt.Fprintf(&out, verb+"\n", each)
		}
		log.New(&out, "", 0).Print(each)
		slog.New(slog.NewTextHandler(&out, nil)).Info("", "it", each)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("", "it", each)
		if text, err := json.Marshal(each); err == nil {
			out.Write(text)
		}
	}
	if text, err := xml.Marshal(value); err == nil {
		out.Write(text)
	}
	if err := template.Must(template.New("").Parse("{{.}} {{printf `%v` .}}")).Execute(&out, value); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestNothingThatPrintsByItselfShowsATokenOrAValue(t *testing.T) {
	token, plaintext := TokenOf(secretToken), Text(secretValue)
	away, cached := failure(storageUnavailable, "away"), "4111 is shown"
	for name, value := range map[string]any{
		"Token":              token,
		"Plaintext":          plaintext,
		"Plaintext of bytes": Bytes([]byte(secretValue)),
		"Value":              Value{Token: token, Plaintext: plaintext},
		"Tokenized":          Tokenized{Token: token},
		"Outcome":            Outcome[Value]{Token: token, Value: Value{Token: token, Plaintext: plaintext}},
		"Revealed":           Revealed[string]{Token: token, value: Value{Token: token, Plaintext: plaintext}},
		"stood in for":       Revealed[string]{Token: token, Reason: "x", Err: away, standIn: &cached},
		"TokenizeItem":       TokenizeItem{Value: plaintext},
		"NullToken":          NullToken{token, true},
	} {
		t.Run(name, func(t *testing.T) {
			out := prints(t, value)
			for _, secret := range []string{secretToken, secretToken[8:], secretValue, "1111 1111", "is shown", fmt.Sprintf("%x", secretValue)} {
				if strings.Contains(out, secret) {
					t.Errorf("printing it shows %q", secret)
				}
			}
		})
	}
	if out := prints(t, token); !strings.Contains(out, tokenPrint) {
		t.Error("a token does not print as what it is")
	}
}

// reached are all bytes that reflection finds, past every method and also behind pointers, as test frameworks print them.
func reached(value reflect.Value, out *bytes.Buffer, depth int) {
	if depth > 12 {
		return
	}
	switch value.Kind() {
	case reflect.String:
		out.WriteString(value.String())
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			reached(value.Elem(), out, depth+1)
		}
	case reflect.Struct:
		for i := range value.NumField() {
			field := value.Field(i)
			if field.CanAddr() {
				field = reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
			}
			reached(field, out, depth+1)
		}
	case reflect.Slice, reflect.Array:
		for i := range value.Len() {
			if value.Index(i).Kind() == reflect.Uint8 {
				out.WriteByte(byte(value.Index(i).Uint()))
			} else {
				reached(value.Index(i), out, depth+1)
			}
		}
	}
}

func TestNorDoesWhatFollowsPointersByReflection(t *testing.T) {
	value := &Value{Token: TokenOf(secretToken), Plaintext: Text(secretValue)}
	var out bytes.Buffer
	reached(reflect.ValueOf(value), &out, 0)
	if out.Len() < len(secretToken) {
		t.Fatalf("it was not looked into: %d bytes", out.Len())
	}
	if strings.Contains(out.String(), "lunasec-") || strings.Contains(out.String(), "4111 1111") {
		t.Error("reflection shows it")
	}
}

func TestClientsAndSessionsShowNeitherASessionNorAJWT(t *testing.T) {
	client, err := New(JWT("secret-jwt"))
	if err != nil {
		t.Fatal(err)
	}
	session, err := client.ForSession("secret-session")
	if err != nil {
		t.Fatal(err)
	}
	out := prints(t, client) + prints(t, session) + prints(t, *session) + prints(t, session.Masked())
	if strings.Contains(out, "secret-") {
		t.Error("printing it shows what it knows")
	}
}

func TestOptionsShowNoJWT(t *testing.T) {
	for _, option := range []any{JWT("secret-jwt"), []Option{JWT("secret-jwt")}, []SessionOption{JWT("secret-jwt")}} {
		if out := prints(t, option); strings.Contains(out, "secret-") || strings.Contains(out, fmt.Sprintf("%x", "secret-")) {
			t.Error("printing it shows the JWT")
		}
	}
}

func TestTokensAreEqualByWhatIsInside(t *testing.T) {
	one, same, other := TokenOf(secretToken), TokenOf(secretToken), tokenN(1)
	if one != same || one == other || !reflect.DeepEqual(one, same) || reflect.DeepEqual(one, other) {
		t.Error("tokens are not equal by their texts")
	}
	if known := map[Token]int{one: 7}; known[same] != 7 || known[other] != 0 {
		t.Error("tokens are no keys")
	}
	if one.Expose() != secretToken || (Token{}).Expose() != "" || !(Token{}).IsZero() || TokenOf("").IsZero() {
		t.Error("a token does not give its text")
	}
}

func TestPlaintextsAreEqualByWhatIsInside(t *testing.T) {
	if !Text("a").Equal(Text("a")) || Text("a").Equal(Text("b")) || Text("a").Equal(Bytes([]byte("a"))) {
		t.Error("plaintexts are not compared by their values")
	}
	if !reflect.DeepEqual(Text("a"), Text("a")) || reflect.DeepEqual(Text("a"), Text("b")) {
		t.Error("DeepEqual does not tell them apart")
	}
	if !Base64("AP8=").Equal(Bytes([]byte{0, 0xff})) || !(Plaintext{}).Equal(Text("")) {
		t.Error("the same value, said otherwise, is another")
	}
}

func TestAPlaintextGivesTextAsTextAndBytesAsBytes(t *testing.T) {
	if text, err := Text("Zoë").Reveal(); err != nil || text != "Zoë" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := Bytes([]byte("x")).Reveal(); !errors.Is(err, ErrNotText) {
		t.Errorf("bytes are revealed as text: %v", err)
	}
	given := []byte("abc")
	plaintext := Bytes(given)
	given[0] = 'x'
	first := plaintext.RevealBytes()
	first[1] = 'x'
	if string(plaintext.RevealBytes()) != "abc" {
		t.Error("it shares its bytes")
	}
	long := strings.Repeat("0123456789", 2_000)
	if text, err := Text(long).Reveal(); err != nil || text != long {
		t.Error("a long text does not come back")
	}
}

func TestWhatWouldLoseThemIsRefused(t *testing.T) {
	var out bytes.Buffer
	for _, value := range []any{TokenOf(secretToken), Text(secretValue)} {
		if err := gob.NewEncoder(&out).Encode(value); err == nil {
			t.Errorf("%T goes through gob", value)
		}
	}
	if err := new(Token).UnmarshalBinary(nil); err == nil {
		t.Error("a token is made of bytes")
	}
	if _, err := Text(secretValue).Value(); err == nil {
		t.Error("a plaintext goes into a database")
	}
}

func TestATokenIsReadFromJSONAndWhatIsNoneIsRefused(t *testing.T) {
	var body struct{ Card Token }
	if err := json.Unmarshal([]byte(`{"card":"`+secretToken+`"}`), &body); err != nil || body.Card.Expose() != secretToken {
		t.Fatalf("%v", err)
	}
	for _, wrong := range []string{
		"4111", "", tokenPrint, plaintextPrint, strings.ToUpper(secretToken), secretToken + "0", "lunasec_" + secretToken[8:],
		secretToken[:16] + "0" + secretToken[17:], "lunasec-" + strings.Repeat("g", 36),
	} {
		text, err := json.Marshal(map[string]string{"card": wrong})
		if err != nil {
			t.Fatal(err)
		}
		err = json.Unmarshal(text, &body)
		if !errors.Is(err, ErrInvalidToken) {
			t.Errorf("%q is a token: %v", wrong, err)
		} else if wrong != "" && strings.Contains(err.Error(), "4111") {
			t.Errorf("the error holds it: %v", err)
		}
	}
	// What was marshalled without Expose does not come back as a token.
	redacted, err := json.Marshal(TokenOf(secretToken))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(redacted, new(Token)); !errors.Is(err, ErrInvalidToken) {
		t.Errorf("a print came back as a token: %v", err)
	}
}

func TestAPlaintextIsReadFromJSON(t *testing.T) {
	var body struct{ Card Plaintext }
	if err := json.Unmarshal([]byte(`{"card":"4111"}`), &body); err != nil {
		t.Fatal(err)
	}
	if text, err := body.Card.Reveal(); err != nil || text != "4111" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestAPlaintextIsWhatWasSentOrNone(t *testing.T) {
	for _, raw := range []string{`"4111\ud800"`, `"4111\udc00\ud800"`, "\"4111\xff\"", `"4111\ufffd\ud800"`, `4111`, `["4111"]`, `{"4111":1}`, `true`} {
		plaintext := Text("before")
		err := json.Unmarshal([]byte(`{"card":`+raw+`}`), &struct{ Card *Plaintext }{&plaintext})
		if !errors.Is(err, ErrInvalidRequest) || strings.Contains(err.Error(), "4111") {
			t.Errorf("%q: %v", raw, err)
		}
		if !plaintext.Equal(Text("before")) {
			t.Errorf("%q is taken", raw)
		}
	}
	for raw, expected := range map[string]string{`"\ud83c\udf19 \ufffd \\ud800"`: "🌙 \ufffd \\ud800", `null`: "before", `""`: ""} {
		plaintext := Text("before")
		if err := json.Unmarshal([]byte(raw), &plaintext); err != nil || !plaintext.Equal(Text(expected)) {
			t.Errorf("%q: %v", raw, err)
		}
	}
	if err := new(Plaintext).UnmarshalText([]byte("4111\xff")); !errors.Is(err, ErrInvalidRequest) || strings.Contains(err.Error(), "4111") {
		t.Errorf("%v", err)
	}
}
