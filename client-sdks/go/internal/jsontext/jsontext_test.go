package jsontext

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWhatWouldComeOutAsSomethingElseIsWrong(t *testing.T) {
	for raw, wrong := range map[string]bool{
		`"plain"`: false, `"Zoë 🌙"`: false, `"\ud83c\udf19"`: false, `"\uD83C\uDF19 twice \ud83c\udf19"`: false,
		`"\ufffd"`: false, "\"\ufffd\"": false, `"\\ud800"`: false, `"\\\\ud800"`: false, `"a\"\n\u0041"`: false,
		`"\ud800"`: true, `"\udc00"`: true, `"\ud83cx\udf19"`: true, `"\ud83c\ud83c\udf19"`: true, `"\udf19\ud83c"`: true,
		`"\ufffd\ud800"`: true, `"\\\ud800"`: true, `{"\uDFFF":1}`: true, "\"\xff\"": true, "\"\xed\xa0\x80\"": true,
	} {
		if (Wrong([]byte(raw)) != "") != wrong {
			t.Errorf("%q", raw)
		}
	}
}

// FuzzTexts: of a text that is not wrong, nothing is replaced that was not a replacement already, and of another, something.
func FuzzTexts(f *testing.F) {
	for _, seed := range []string{`"a"`, `"\ud800"`, `"\ud83c\udf19"`, "\"\xff\"", `"\\ud800\ufffd"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		wrong := Wrong(raw) != ""
		var text string
		if json.Unmarshal(raw, &text) != nil {
			return
		}
		lower := strings.ToLower(string(raw))
		said := strings.Count(lower, "\ufffd") + strings.Count(lower, `\ufffd`)
		replacements := strings.Count(text, "\ufffd")
		if utf8.Valid(raw) && !wrong && replacements > said {
			t.Errorf("%q is not what it was", raw)
		}
		if wrong && replacements == 0 {
			t.Errorf("%q is what it was", raw)
		}
	})
}
