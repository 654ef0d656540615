package lunasec

import (
	"regexp"
)

// likeAToken is also one that was copied carelessly: the sidecar would take it for a value.
var likeAToken = regexp.MustCompile(`(?i)^[\s\p{Cf}]*lunasec-?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}[\s\p{Cf}]*$`)

// HoldsToken is what [NoValue] says of a text that is a token.
const HoldsToken = "holds a token where a value is expected"

// NoValue says what a text from outside is instead of a value, for whoever sent it: after "it", or the field's name. It is
// empty for a value. What is shown or kept instead of a value must not be tokenized in its place, as of a form that was
// sent back: the value would be lost, and a token would be anybody's who found it. For integrations.
func NoValue(text string) string {
	if len(text) <= printedBytes && likeAToken.MatchString(text) {
		return HoldsToken
	}
	if isMask(text) {
		return "holds the mask that is shown when a value is not available, not a value"
	}
	if what, _ := printedAs(text); what != "" {
		return "holds what a " + what + " prints as, not a value"
	}
	return ""
}
