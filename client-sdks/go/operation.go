package lunasec

import (
	"bytes"
	"encoding/json"
)

// unit is one item of a list, as it goes into the body.
type unit struct {
	json []byte
	// text is that of the token that its answer has to be about, where the request names one.
	text  string
	named bool
	token Token
}

// result is what one item came to.
type result struct {
	value any
	err   *Error
}

func (r *result) known() bool { return r.value != nil || r.err != nil }

// final: nothing better is to be had.
func (r *result) final() bool { return r.known() && (r.err == nil || !mayHelp(r.err)) }

// operation is one on a list of items.
type operation struct {
	path string
	// bytes of the body.
	bytes int
	// before the items in the body. Lists that differ in it are not the same call.
	before string
	// alonePath is the route of an item that is alone, if there is one, with what is around it.
	alonePath, aloneBefore, aloneAfter string
	// keyed by the client, and so sent again as a whole: an item is known by its place. Otherwise only what failed is.
	keyed bool
	// reveals: what finds no room in an answer may alone.
	reveals bool
	// read one item's answer.
	read func(wire members, unit *unit, ofAll Staleness) (any, error)
}

const after = "]}"

// body of a batch.
func (o *operation) body(units []unit) []byte {
	size := len(o.before) + len(after)
	for i := range units {
		size += len(units[i].json) + 1
	}
	body := append(make([]byte, 0, size), o.before...)
	for i := range units {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, units[i].json...)
	}
	return append(body, after...)
}

func (o *operation) aloneBody(unit *unit) []byte {
	if o.aloneBefore == "" {
		return unit.json
	}
	body := make([]byte, 0, len(o.aloneBefore)+len(unit.json)+len(o.aloneAfter))
	return append(append(append(body, o.aloneBefore...), unit.json...), o.aloneAfter...)
}

// results are those of a batch's answer: as many as were asked for, in their order.
func (o *operation) results(said answered, units []unit) ([]result, error) {
	items, err := said.body.list("items")
	if err != nil {
		return nil, err
	}
	if len(items) != len(units) {
		return nil, misread("it has another number of items than the request")
	}
	results := make([]result, len(units))
	for i := range units {
		wire, err := object(items[i], "an item")
		if err == nil {
			results[i], err = o.result(wire, &units[i], said.age)
		}
		if err != nil {
			return nil, err
		}
	}
	return results, nil
}

func (o *operation) result(wire members, unit *unit, ofAll Staleness) (result, error) {
	if unit.named {
		// Never somebody else's value for a token.
		if text, err := wire.text("token"); err != nil || text != unit.text {
			return result{}, misread("an item is about another token than the request")
		}
	}
	if wire.has("error") {
		failed, err := wire.itemError()
		return result{err: failed}, err
	}
	value, err := o.read(wire, unit, ofAll)
	return result{value: value}, err
}

// encode is JSON as it was written: nothing is escaped that need not be.
func encode(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimRight(out.Bytes(), "\n"), nil
}

// quoted is a text as JSON. It is UTF-8.
func quoted(text string) []byte {
	out, err := encode(text)
	if err != nil {
		// Nothing in a text can fail.
		panic(err)
	}
	return out
}
