package lunasecgrpc

import (
	"fmt"
	"sort"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// role is who carries rules out.
type role int

const (
	// atServer: all of them.
	atServer role = iota
	// behindClients: a server whose clients tokenize and detokenize.
	behindClients
	// atClient: one of those.
	atClient
)

type direction int

const (
	request direction = iota
	response
)

// plan of a message that rules apply to, itself or further down.
type plan struct {
	name   protoreflect.FullName
	fields map[protoreflect.FieldNumber]*planned
}

type planned struct {
	where string
	// rule is what is done with the field, where something is.
	rule             *rule
	isBytes, wrapped bool
	// inner is what is done in it, where it is a message.
	inner *plan
}

type methodPlans struct{ of [2]*plan }

// plans are what is to be done with the messages of each method, by its full name.
type plans struct {
	methods map[string]methodPlans
	files   *protoregistry.Files
}

// plansOf all services of some files. All that cannot be done is said here, at once.
func plansOf(files *protoregistry.Files, role role, hasSession bool) (*plans, error) {
	mistakes := map[string]bool{}
	planner := &planner{
		role: role, rules: map[protoreflect.FullName]*rule{}, known: map[protoreflect.FullName]bool{},
		mistake: func(words string) { mistakes[words] = true },
	}
	found := &plans{map[string]methodPlans{}, files}
	var methods []protoreflect.MethodDescriptor
	files.RangeFiles(func(file protoreflect.FileDescriptor) bool {
		planner.extensions(file.Extensions())
		planner.messages(file.Messages())
		for i := range file.Services().Len() {
			of := file.Services().Get(i).Methods()
			for j := range of.Len() {
				methods = append(methods, of.Get(j))
			}
		}
		return true
	})
	sides := [2]*side{planner.side(request, methods), planner.side(response, methods)}
	planner.unused(sides)
	if !hasSession {
		planner.withoutSession(sides)
	}
	for _, method := range methods {
		name := fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
		found.methods[name] = methodPlans{[2]*plan{sides[request].plans[method.Input().FullName()], sides[response].plans[method.Output().FullName()]}}
	}
	if len(mistakes) == 0 {
		return found, nil
	}
	failed := &RuleError{}
	for words := range mistakes {
		failed.Mistakes = append(failed.Mistakes, words)
	}
	sort.Strings(failed.Mistakes)
	return nil, failed
}

type planner struct {
	role    role
	mistake func(string)
	// rules by the full names of their fields.
	rules map[protoreflect.FullName]*rule
	known map[protoreflect.FullName]bool
}

func (p *planner) messages(messages protoreflect.MessageDescriptors) {
	for i := range messages.Len() {
		message := messages.Get(i)
		p.known[message.FullName()] = true
		p.extensions(message.Extensions())
		p.messages(message.Messages())
		for j := range message.Fields().Len() {
			p.field(message.Fields().Get(j))
		}
	}
}

func (p *planner) extensions(extensions protoreflect.ExtensionDescriptors) {
	for i := range extensions.Len() {
		p.field(extensions.Get(i))
	}
}

func (p *planner) field(field protoreflect.FieldDescriptor) {
	if rule := ruleOf(field, p.mistake); rule != nil {
		p.rules[field.FullName()] = rule
	}
}

// applies: a rule means something in a direction at all, whoever carries it out.
func (r *rule) applies(direction direction) bool {
	if direction == request {
		return r.tokenize || r.verify
	}
	return r.detokenize || r.grant != ""
}

func (r *rule) acts(direction direction, role role) bool {
	switch {
	case role == atClient && direction == request:
		return r.tokenize
	case role == atClient:
		return r.detokenize
	case direction == response && role == behindClients:
		return r.grant != ""
	default:
		return r.applies(direction)
	}
}

func (r *rule) needsSession(direction direction, role role) bool {
	if direction == response {
		return role != atClient && r.grant != ""
	}
	return (role != atClient && r.verify) || (role != behindClients && r.tokenize && r.grant != "")
}

// side is what can be reached from the messages of one direction, and what is done there.
type side struct {
	direction direction
	used      map[protoreflect.FullName]bool
	plans     map[protoreflect.FullName]*plan
}

func (p *planner) side(direction direction, methods []protoreflect.MethodDescriptor) *side {
	side := &side{direction, map[protoreflect.FullName]bool{}, map[protoreflect.FullName]*plan{}}
	reached := map[protoreflect.FullName]protoreflect.MessageDescriptor{}
	for _, method := range methods {
		root := method.Input()
		if direction == response {
			root = method.Output()
		}
		side.reach(root, reached)
	}
	// Messages may hold themselves: until no other is found that has something to do in it.
	for before := -1; before < len(side.plans); {
		before = len(side.plans)
		for name, message := range reached {
			if side.plans[name] == nil && p.concerns(side, message) {
				side.plans[name] = &plan{name, map[protoreflect.FieldNumber]*planned{}}
			}
		}
	}
	for name, plan := range side.plans {
		p.fill(side, plan, reached[name])
	}
	return side
}

func (s *side) reach(message protoreflect.MessageDescriptor, reached map[protoreflect.FullName]protoreflect.MessageDescriptor) {
	if reached[message.FullName()] != nil {
		return
	}
	reached[message.FullName()] = message
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		s.used[field.FullName()] = true
		if inner := messageOf(field); inner != nil {
			s.reach(inner, reached)
		}
	}
}

// messageOf a field, or of the values of a map.
func messageOf(field protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if field.IsMap() {
		return field.MapValue().Message()
	}
	return field.Message()
}

func (p *planner) concerns(side *side, message protoreflect.MessageDescriptor) bool {
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		if rule := p.rules[field.FullName()]; rule != nil && rule.acts(side.direction, p.role) {
			return true
		}
		if inner := messageOf(field); inner != nil && side.plans[inner.FullName()] != nil {
			return true
		}
	}
	return false
}

func (p *planner) fill(side *side, plan *plan, message protoreflect.MessageDescriptor) {
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		made := &planned{where: string(field.FullName())}
		if rule := p.rules[field.FullName()]; rule != nil && rule.acts(side.direction, p.role) {
			made.rule = rule
			made.isBytes, made.wrapped, _ = kindOf(field)
		}
		if inner := messageOf(field); inner != nil && made.rule == nil {
			made.inner = side.plans[inner.FullName()]
		}
		if made.rule != nil || made.inner != nil {
			plan.fields[field.Number()] = made
		}
	}
}

// unused rules would silently never be carried out.
func (p *planner) unused(sides [2]*side) {
	for name, rule := range p.rules {
		asked, answered := sides[request].used[name], sides[response].used[name]
		switch {
		case asked && !answered && !rule.applies(request):
			p.mistake(fmt.Sprintf("%s: it is only part of requests, where detokenize and grant do nothing; use verify or tokenize, or move the rule to the response", name))
		case answered && !asked && !rule.applies(response):
			p.mistake(fmt.Sprintf("%s: it is only part of responses, where tokenize and verify do nothing; use detokenize or grant, or move the rule to the request", name))
		}
	}
}

func (p *planner) withoutSession(sides [2]*side) {
	for name, rule := range p.rules {
		for _, side := range sides {
			if side.used[name] && rule.needsSession(side.direction, p.role) {
				p.mistake(fmt.Sprintf("%s: grant and verify are for a session; give the interceptor its Session", name))
			}
		}
	}
}
