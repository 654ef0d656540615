package lunasec

import (
	"context"
	"errors"
	"sync"
	"time"
)

// shared is what all entries of a flight have in common.
type shared struct {
	operation *operation
	lines     string
	attempts  int
	// asBatch: the caller asked for the batch route, also for a single item.
	asBatch bool
	// key of the caller's own.
	key string
	// searches are how many more requests may be made to find out whose fault a refusal of the whole was.
	searches *int
}

type seat struct {
	entry  *entry
	unit   *unit
	result result
}

// flight is one request that carries the items of several callers, tried again as far as that helps. Each caller gets what
// its own items came to, as soon as that is known, and none can fail another: what the sidecar refuses as a whole is sent
// again in halves, until it is known whose fault it was.
type flight struct {
	engine *engine
	shared shared
	// mutex: callers who leave look at the entries, which only the flight itself changes.
	mutex   sync.Mutex
	entries []*entry
	seats   []seat
	stop    context.CancelFunc
	key     string
	retries retries
}

func newFlight(engine *engine, shared shared, entries []*entry) *flight {
	f := &flight{engine: engine, shared: shared, entries: entries, key: shared.key}
	if f.key == "" && shared.operation.keyed {
		f.key = newKey()
	}
	f.retries = retries{engine: engine, attempts: shared.attempts, repeatable: always}
	f.seat()
	return f
}

func (f *flight) seat() {
	count := 0
	for _, entry := range f.entries {
		count += len(entry.units)
	}
	f.seats = make([]seat, 0, count)
	for _, entry := range f.entries {
		for i := range entry.units {
			f.seats = append(f.seats, seat{entry: entry, unit: &entry.units[i]})
		}
	}
}

// together makes the request of several callers, and ends when all have left.
func (f *flight) together() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	f.stop = stop
	for _, entry := range f.entries {
		entry.board(f)
	}
	f.left()
	f.fly(ctx)
}

// fly by itself ends with the context of its only caller.
func (f *flight) fly(ctx context.Context) {
	if err := f.retries.persist(ctx, f); err != nil {
		f.failed(err)
		return
	}
	f.tell()
}

// left: if nobody waits any more, nothing is worth waiting for.
func (f *flight) left() {
	f.mutex.Lock()
	entries := f.entries
	f.mutex.Unlock()
	for _, entry := range entries {
		if !entry.isOver() {
			return
		}
	}
	f.stop()
}

func (f *flight) until() time.Time { return latest(f.entries) }

func (f *flight) again(err *Error) {
	for _, entry := range f.entries {
		entry.troubled(err)
	}
}

func (f *flight) attempt(ctx context.Context) error {
	seats := f.toSend()
	units, to := f.units(seats)
	if len(units) == 0 {
		return context.Canceled
	}
	answer, err := f.engine.transport.exchange(ctx, f.until(), f.wanted(units))
	if err != nil {
		return err
	}
	said, err := read(answer)
	if err != nil {
		return err
	}
	results, err := f.results(said, units)
	if err != nil {
		return identified(err, answer)
	}
	for i, seat := range seats {
		if !seat.result.final() {
			seat.result = results[to[i]]
		}
	}
	return f.settle()
}

// toSend is all items where an item is known by its place, else those that came to nothing yet.
func (f *flight) toSend() []*seat {
	open := make([]*seat, 0, len(f.seats))
	for i := range f.seats {
		seat := &f.seats[i]
		if !seat.result.final() && !seat.entry.isOver() {
			open = append(open, seat)
		}
	}
	if !f.shared.operation.keyed || len(open) == 0 || len(open) == len(f.seats) {
		return open
	}
	open = open[:0]
	for i := range f.seats {
		open = append(open, &f.seats[i])
	}
	return open
}

// units are what is sent, and which of them each seat's is: a token that several callers asked for is asked for once.
func (f *flight) units(seats []*seat) ([]unit, []int) {
	units, to := make([]unit, 0, len(seats)), make([]int, len(seats))
	var asked map[string]int
	for i, seat := range seats {
		same := len(f.entries) > 1 && f.shared.isShared(seat.entry)
		if at, ok := asked[seat.unit.text]; same && ok {
			to[i] = at
			continue
		}
		to[i] = len(units)
		if same {
			if asked == nil {
				asked = make(map[string]int, len(seats))
			}
			asked[seat.unit.text] = len(units)
		}
		units = append(units, *seat.unit)
	}
	return units, to
}

// isShared: the one item of a caller is asked for once, however many ask for it. A list is sent as it was given.
func (s *shared) isShared(entry *entry) bool {
	return !s.operation.keyed && !s.asBatch && len(entry.units) == 1
}

// isAlone: of a request that is sent again, what is left may be one item; it stays a batch.
func (f *flight) isAlone(units []unit) bool {
	if f.shared.asBatch || f.shared.operation.alonePath == "" || len(units) != 1 {
		return false
	}
	for i := range f.seats {
		if f.seats[i].unit != f.seats[0].unit && (f.shared.operation.keyed || f.seats[i].unit.text != units[0].text) {
			return false
		}
	}
	return true
}

func (f *flight) wanted(units []unit) *wanted {
	operation := f.shared.operation
	lines := f.shared.lines + f.entries[0].lines
	if f.key != "" {
		lines += "idempotency-key: " + f.key + "\r\n"
	}
	if f.isAlone(units) {
		return &wanted{method: "POST", path: operation.alonePath, lines: lines, body: operation.aloneBody(&units[0])}
	}
	return &wanted{method: "POST", path: operation.path, lines: lines, body: operation.body(units)}
}

func (f *flight) results(said answered, units []unit) ([]result, error) {
	if !f.isAlone(units) {
		return f.shared.operation.results(said, units)
	}
	value, err := f.shared.operation.read(said.body, &units[0], said.age)
	return []result{{value: value}}, err
}

// settle answers whoever can be answered, and gives what is wrong with the others.
func (f *flight) settle() error {
	var trouble *Error
	var crowded []*entry
	for _, entry := range f.entries {
		if entry.isOver() {
			continue
		}
		results := f.of(entry)
		if open := firstOpen(results); open != nil {
			if trouble == nil {
				trouble = open
			}
		} else if f.isCrowded(results) {
			crowded = append(crowded, entry)
		} else if len(f.entries) > 1 {
			entry.finish(results, nil)
		}
	}
	f.makeRoom(crowded)
	if trouble != nil {
		return trouble
	}
	return nil
}

func firstOpen(results []result) *Error {
	for i := range results {
		if !results[i].final() {
			return results[i].err
		}
	}
	return nil
}

// of an entry, what its items came to.
func (f *flight) of(entry *entry) []result {
	results := make([]result, 0, len(entry.units))
	for i := range f.seats {
		if f.seats[i].entry == entry && f.seats[i].result.known() {
			results = append(results, f.seats[i].result)
		}
	}
	return results
}

// tell those who still wait.
func (f *flight) tell() {
	for _, entry := range f.entries {
		if !entry.isOver() {
			entry.finish(f.of(entry), nil)
		}
	}
}

// isCrowded: an item of a caller found no room only because of the items of others; alone it would.
func (f *flight) isCrowded(results []result) bool {
	if len(f.entries) < 2 || !f.shared.operation.reveals {
		return false
	}
	for i := range results {
		if results[i].err != nil && results[i].err.kind == payloadTooLarge {
			return true
		}
	}
	return false
}

// makeRoom: who found none goes again, with fewer.
func (f *flight) makeRoom(crowded []*entry) {
	if len(crowded) == 0 {
		return
	}
	all := len(crowded) == len(f.entries)
	kept := make([]*entry, 0, len(f.entries))
	for _, entry := range f.entries {
		if !contains(crowded, entry) {
			kept = append(kept, entry)
		}
	}
	f.mutex.Lock()
	f.entries = kept
	f.mutex.Unlock()
	if !all {
		f.anew(crowded)
		return
	}
	for i := range crowded {
		f.anew(crowded[i : i+1])
	}
}

func contains(entries []*entry, wanted *entry) bool {
	for _, entry := range entries {
		if entry == wanted {
			return true
		}
	}
	return false
}

// anew, at the same time as whatever counts searches here: it gets half of what is left of them.
func (f *flight) anew(entries []*entry) {
	shared := f.shared
	if left := f.shared.searches; left != nil {
		own := *left / 2
		*left -= own
		shared.searches = &own
	}
	go newFlight(f.engine, shared, entries).together()
}

// failed is the last word: what items came to counts; a refusal of the whole is sought in each half.
func (f *flight) failed(err error) {
	var waiting []*entry
	known := false
	for _, entry := range f.entries {
		if !entry.isOver() {
			waiting = append(waiting, entry)
			known = known || len(f.of(entry)) > 0
		}
	}
	if len(waiting) > 1 && !known && refusesWhole(err) && f.search(waiting) {
		return
	}
	for _, entry := range waiting {
		results := f.of(entry)
		if len(results) == len(entry.units) && !errors.Is(err, context.Canceled) {
			entry.finish(results, nil)
		} else {
			entry.finish(nil, err)
		}
	}
}

func (f *flight) search(waiting []*entry) bool {
	left := f.shared.searches
	if left == nil {
		most := searches
		left = &most
	}
	if *left < 2 {
		return false
	}
	// One after the other, so that nobody else counts meanwhile.
	*left -= 2
	half := (len(waiting) + 1) / 2
	shared := f.shared
	shared.searches = left
	newFlight(f.engine, shared, waiting[:half]).together()
	newFlight(f.engine, shared, waiting[half:]).together()
	return true
}

// refusesWhole is what one item may have brought upon all.
func refusesWhole(err error) bool {
	return errors.Is(err, ErrInvalidRequest) || errors.Is(err, ErrPayloadTooLarge)
}
