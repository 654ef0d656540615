package lunasecgrpc

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

const (
	// itemsIn are the values and tokens that one request's message brings: all wait at once, and one message must not take
	// the calls of a process from everybody else.
	itemsIn = 2_000
	// itemsOut are the tokens that a response's reveals or grants.
	itemsOut = 5_000
	// batchItems of one call, by the contract.
	batchItems = 1_000
)

// slot is one text or bytes that a rule is about.
type slot struct {
	where   string
	rule    *rule
	isBytes bool
	// raw is what is there: a text, or bytes.
	raw string
	set func(protoreflect.Value)
}

// fieldError is an error and the field that it is about.
type fieldError struct {
	where string
	// told: its detail is for whoever made the request, who alone can mend it.
	told bool
	err  error
}

func (e *fieldError) Error() string { return e.where + ": " + e.err.Error() }
func (e *fieldError) Unwrap() error { return e.err }

func (s *slot) refuse(code, words string) error {
	return &fieldError{s.where, true, lunasec.NewError(code, words, false)}
}

// write a text in the kind of the field.
func (s *slot) write(text string) {
	if s.isBytes {
		s.set(protoreflect.ValueOfBytes([]byte(text)))
	} else {
		s.set(protoreflect.ValueOfString(text))
	}
}

// plaintext of the field's kind.
func (s *slot) plaintext() lunasec.Plaintext {
	if s.isBytes {
		return lunasec.Bytes([]byte(s.raw))
	}
	return lunasec.Text(s.raw)
}

// reveal a value into the field.
func (s *slot) reveal(value lunasec.Value) error {
	if s.isBytes {
		s.set(protoreflect.ValueOfBytes(value.RevealBytes()))
		return nil
	}
	text, err := value.Reveal()
	if err != nil {
		return &fieldError{where: s.where, err: lunasec.NewError("invalid_request", "the value is bytes, and the field is a string: make it a bytes field", false)}
	}
	s.write(text)
	return nil
}

type walker struct {
	slots []*slot
	most  int
}

// open finds what rules are about in a message, which the slots then write to.
func open(plan *plan, message protoreflect.Message, most int) ([]*slot, error) {
	walker := &walker{most: most}
	if name := message.Descriptor().FullName(); name != plan.name {
		// Whatever else it is, nobody has looked at its fields.
		return nil, lunasec.NewError("internal", fmt.Sprintf("the message is a %s where a %s is expected", name, plan.name), false)
	}
	walker.message(plan, message)
	if len(walker.slots) > most {
		return nil, lunasec.NewError("payload_too_large", fmt.Sprintf("the message has more than %d fields to protect: send it in several, as a stream", most), false)
	}
	return walker.slots, nil
}

func (w *walker) message(plan *plan, message protoreflect.Message) {
	fields := message.Descriptor().Fields()
	for number, planned := range plan.fields {
		field := fields.ByNumber(number)
		// An empty text is a value only where it is told from an absent one.
		if field != nil && message.Has(field) && len(w.slots) <= w.most {
			w.field(planned, field, message)
		}
	}
}

func (w *walker) field(planned *planned, field protoreflect.FieldDescriptor, message protoreflect.Message) {
	value := message.Get(field)
	switch {
	case field.IsMap():
		entries := value.Map()
		entries.Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
			w.value(planned, value, func(to protoreflect.Value) { entries.Set(key, to) })
			return true
		})
	case field.IsList():
		list := value.List()
		for i := range list.Len() {
			w.value(planned, list.Get(i), func(to protoreflect.Value) { list.Set(i, to) })
		}
	default:
		w.value(planned, value, func(to protoreflect.Value) { message.Set(field, to) })
	}
}

func (w *walker) value(planned *planned, value protoreflect.Value, set func(protoreflect.Value)) {
	if planned.inner != nil {
		w.message(planned.inner, value.Message())
		return
	}
	if planned.wrapped {
		wrapper := value.Message()
		field := wrapper.Descriptor().Fields().ByName("value")
		value, set = wrapper.Get(field), func(to protoreflect.Value) { wrapper.Set(field, to) }
	}
	raw := ""
	if planned.isBytes {
		raw = string(value.Bytes())
	} else {
		raw = value.String()
	}
	w.slots = append(w.slots, &slot{planned.where, planned.rule, planned.isBytes, raw, set})
}
