package lunasechttp

import (
	"fmt"
	"strings"

	lunasec "github.com/lunasec-io/lunasec-sidecar/client-sdks/go"
)

// Fields of JSON:
//
//	card            a field
//	address.street  a field of an object
//	items[].card    a field of each object of a list
//	tags[]          each item of a list
//	[].name         a field of each object, where all is a list
//	note?           a field that may be missing or null, or what it is in may be
//
// A mistake in one panics where the route is made, as a pattern of [net/http.ServeMux] does.
type Fields []string

const each = "[]"

type field struct {
	name     string
	steps    []string
	optional bool
}

func parse(fields Fields, place string) []field {
	if len(fields) == 0 {
		panic("lunasechttp: no fields: name those of the JSON, such as \"items[].card\"")
	}
	seen := map[string]bool{}
	var parsed []field
	for _, text := range fields {
		name, optional := strings.CutSuffix(text, "?")
		if seen[name] {
			continue
		}
		seen[name] = true
		parsed = append(parsed, field{place + name, stepsOf(name), optional})
	}
	return parsed
}

func stepsOf(name string) []string {
	var steps []string
	for i, part := range strings.Split(name, ".") {
		lists := 0
		for strings.HasSuffix(part, each) {
			part = strings.TrimSuffix(part, each)
			lists++
		}
		if strings.ContainsAny(part, "[]?") || (part == "" && (i > 0 || lists == 0)) {
			panic(fmt.Sprintf("lunasechttp: %q names no field: write card, address.street, items[].card, tags[] or [].name, with ? at the end where it may be missing", name))
		}
		if part != "" {
			steps = append(steps, part)
		}
		for range lists {
			steps = append(steps, each)
		}
	}
	return steps
}

// FieldError is a field of a request that is missing, of another type, or holds what it may not. It is
// [lunasec.ErrInvalidRequest], and its words are for whoever made the request.
type FieldError struct {
	// Field as the route names it, such as body.items[].card.
	Field string
	err   *lunasec.Error
}

func (e *FieldError) Error() string { return e.err.Error() }

// Unwrap gives the error that it is.
func (e *FieldError) Unwrap() error { return e.err }

func refused(field, what string) error {
	return &FieldError{field, lunasec.NewError("invalid_request", field+" "+what, false)}
}

// slot is one field that was found.
type slot struct {
	field string
	value any
	write func(any)
}

// rules are whose data it is, and so whose mistake.
type rules struct {
	refuse func(field, what string) error
	// lenient: any field may be missing.
	lenient bool
	// strict: no member may be spelled like the field but for its case. Go's own decoder would take the one for the other,
	// and the handler would read what nobody has looked at. Names that differ in - and _ are other fields to it.
	strict bool
}

var ofRequest = rules{refuse: refused, strict: true}

// ofAnswer: the application's own mistake, which nobody else can mend.
var ofAnswer = rules{lenient: true, refuse: func(field, what string) error {
	return fmt.Errorf("lunasechttp: the field %s of the answer %s", field, what)
}}

// find the fields in decoded JSON, which is written to by their slots.
func find(root *any, fields []field, rules rules) ([]slot, error) {
	var slots []slot
	for _, field := range fields {
		walk := walk{field, rules, &slots}
		if err := walk.at(*root, true, func(to any) { *root = to }, field.steps); err != nil {
			return nil, err
		}
	}
	return slots, nil
}

func tooMany() error {
	return lunasec.NewError("payload_too_large", fmt.Sprintf("more than %d fields at once", mostFields), false)
}

type walk struct {
	field field
	rules rules
	slots *[]slot
}

func (w walk) at(value any, is bool, write func(any), steps []string) error {
	switch {
	case !is || value == nil:
		if w.field.optional || w.rules.lenient {
			return nil
		}
		return w.rules.refuse(w.field.name, "is missing")
	case len(steps) == 0:
		if len(*w.slots) >= mostFields {
			return tooMany()
		}
		*w.slots = append(*w.slots, slot{w.field.name, value, write})
		return nil
	case steps[0] == each:
		list, ok := value.([]any)
		if !ok {
			return w.rules.refuse(w.field.name, "is no list where one is expected")
		}
		for i := range list {
			if err := w.at(list[i], true, func(to any) { list[i] = to }, steps[1:]); err != nil {
				return err
			}
		}
		return nil
	default:
		object, ok := value.(map[string]any)
		if !ok {
			return w.rules.refuse(w.field.name, "is in no object where one is expected")
		}
		if w.rules.strict && spelledOtherwise(object, steps[0]) {
			return w.rules.refuse(w.field.name, "is there in another spelling, too: send it once, as it is named")
		}
		inner, is := object[steps[0]]
		return w.at(inner, is, func(to any) { object[steps[0]] = to }, steps[1:])
	}
}

func spelledOtherwise(object map[string]any, name string) bool {
	for key := range object {
		if key != name && strings.EqualFold(key, name) {
			return true
		}
	}
	return false
}
