package lunasecgrpc

import (
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// RuleError is all that .proto files ask for and that cannot be, each with where it is.
type RuleError struct{ Mistakes []string }

func (e *RuleError) Error() string {
	if len(e.Mistakes) == 1 {
		return "lunasecgrpc: " + e.Mistakes[0]
	}
	return fmt.Sprintf("lunasecgrpc: %d mistakes:\n- %s", len(e.Mistakes), strings.Join(e.Mistakes, "\n- "))
}

// rule is what is to be done with a field.
type rule struct {
	tokenize, detokenize, verify bool
	// grant for how long, in the sidecar's words.
	grant string
}

// extension is the option, by its name; its number in our own file is only for options that no code knows.
const (
	extension       = "lunasec.field"
	extensionNumber = 58279
)

// duration is as the sidecar reads it.
var duration = regexp.MustCompile(`^[0-9]+(ms|s|m|h|d)$`)

// kindOf a field that can hold a token: bytes or not, and whether it is a message around one.
func kindOf(field protoreflect.FieldDescriptor) (isBytes, wrapped, ok bool) {
	of := field
	if field.IsMap() {
		of = field.MapValue()
	}
	switch of.Kind() {
	case protoreflect.StringKind:
		return false, false, true
	case protoreflect.BytesKind:
		return true, false, true
	case protoreflect.MessageKind:
		switch of.Message().FullName() {
		case "google.protobuf.StringValue":
			return false, true, true
		case "google.protobuf.BytesValue":
			return true, true, true
		}
	}
	return false, false, false
}

// ruleOf a field; nil where it has none. It tells what is wrong with it.
func ruleOf(field protoreflect.FieldDescriptor, mistake func(string)) *rule {
	options := field.Options()
	if options == nil {
		return nil
	}
	var found *rule
	options.ProtoReflect().Range(func(option protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if option.IsExtension() && option.FullName() == extension {
			found = readRule(field, value.Message(), mistake)
		}
		return true
	})
	if found == nil && hasUnknown(options.ProtoReflect().GetUnknown(), extensionNumber) {
		mistake(fmt.Sprintf("%s: its rule cannot be read, for the code of lunasec/options.proto is not linked; import lunasecpb", field.FullName()))
		return nil
	}
	if found == nil || *found == (rule{}) {
		return nil
	}
	if why := unfit(field); why != "" {
		mistake(fmt.Sprintf("%s: %s", field.FullName(), why))
		return nil
	}
	return found
}

func readRule(field protoreflect.FieldDescriptor, said protoreflect.Message, mistake func(string)) *rule {
	found := &rule{}
	said.Range(func(name protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch name.Name() {
		case "tokenize":
			found.tokenize = value.Bool()
		case "detokenize":
			found.detokenize = value.Bool()
		case "verify":
			found.verify = value.Bool()
		case "grant":
			found.grant = value.String()
			if found.grant != "" && !duration.MatchString(found.grant) {
				mistake(fmt.Sprintf("%s: (lunasec.field).grant is a duration such as \"15m\"", field.FullName()))
			}
		default:
			mistake(fmt.Sprintf("%s: (lunasec.field).%s is no rule; there are tokenize, detokenize, verify and grant", field.FullName(), name.Name()))
		}
		return true
	})
	if len(said.GetUnknown()) > 0 {
		mistake(fmt.Sprintf("%s: it has a rule that is newer than this package; update it", field.FullName()))
	}
	return found
}

func unfit(field protoreflect.FieldDescriptor) string {
	if field.IsExtension() {
		return "a rule on an extension has no effect; move the field into its message"
	}
	if _, _, ok := kindOf(field); ok {
		return ""
	}
	of, what := field, "of type "
	if field.IsMap() {
		of, what = field.MapValue(), "a map of "
	}
	if of.Message() != nil {
		return fmt.Sprintf("it is %s%s, and only string and bytes fields have rules; put the rule on fields of that", what, of.Message().FullName())
	}
	return fmt.Sprintf("it is %s%s, which cannot hold a token; make it a string or bytes field", what, of.Kind())
}

func hasUnknown(raw protoreflect.RawFields, number protowire.Number) bool {
	for len(raw) > 0 {
		found, _, length := protowire.ConsumeField(raw)
		if length < 0 {
			return false
		}
		if found == number {
			return true
		}
		raw = raw[length:]
	}
	return false
}
