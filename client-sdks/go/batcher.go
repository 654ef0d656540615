package lunasec

import (
	"context"
	"strconv"
	"sync"
	"time"
)

// batcher makes one request of the calls that say the same of themselves: operation, namespace, session, JWT, purpose and
// policy. A call is sent as it is, at once, for as long as few of its kind are under way. Those that come while more are
// under way go together when one of those is back, or after gatherTime: nobody waits who is alone, and many are few
// requests.
type batcher struct {
	engine *engine
	items  int
	// gather for so long at most.
	gather time.Duration

	mutex sync.Mutex
	lanes map[string]*lane
}

type lane struct {
	shared  shared
	flying  int
	waiting []*entry
	timer   *time.Timer
}

func newBatcher(engine *engine, items int) *batcher {
	return &batcher{engine: engine, items: items, gather: gatherTime, lanes: map[string]*lane{}}
}

// submit is one caller's items, perhaps together with those of others.
func (b *batcher) submit(ctx context.Context, shared shared, units []unit, limits limits) ([]result, error) {
	if b.items == 1 || len(units) > b.items {
		return b.alone(ctx, shared, units, limits)
	}
	if err := b.engine.places.take(limits.holder); err != nil {
		return nil, err
	}
	defer b.engine.places.leave(limits.holder)
	entry := &entry{units: units, limits: limits, lines: b.engine.traced(ctx)}
	key := shared.operation.path + " " + strconv.Itoa(shared.attempts) + " " + shared.lines + shared.operation.before
	if b.board(key, shared, entry) {
		defer b.landed(key)
		return b.fly(ctx, shared, entry)
	}
	return wait(ctx, entry)
}

// alone is one caller's items, by themselves.
func (b *batcher) alone(ctx context.Context, shared shared, units []unit, limits limits) ([]result, error) {
	if err := b.engine.places.take(limits.holder); err != nil {
		return nil, err
	}
	defer b.engine.places.leave(limits.holder)
	return b.fly(ctx, shared, &entry{units: units, limits: limits, lines: b.engine.traced(ctx)})
}

// fly makes the request in the caller's own goroutine.
func (b *batcher) fly(ctx context.Context, shared shared, entry *entry) ([]result, error) {
	if ctx.Err() == nil {
		newFlight(b.engine, shared, only(entry)).fly(ctx)
	} else {
		entry.err = ctx.Err()
	}
	return entry.results, ended(ctx, entry.err, entry.before(), entry.limits)
}

// wait for what others bring along.
func wait(ctx context.Context, entry *entry) ([]result, error) {
	timer := time.NewTimer(time.Until(entry.limits.until))
	defer timer.Stop()
	select {
	case <-entry.done:
	case <-ctx.Done():
		if entry.leave() {
			return nil, ended(ctx, ctx.Err(), entry.before(), entry.limits)
		}
		<-entry.done
	case <-timer.C:
		if entry.leave() {
			return nil, late(entry.before(), entry.limits)
		}
		<-entry.done
	}
	return entry.results, ended(ctx, entry.err, entry.before(), entry.limits)
}

// board says whether the caller is to make the request by itself; otherwise it is one of those who wait.
func (b *batcher) board(key string, shared shared, entry *entry) bool {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	at := b.lanes[key]
	if at == nil {
		at = &lane{shared: shared}
		b.lanes[key] = at
	}
	if at.flying < lonelyFlights && len(at.waiting) == 0 {
		at.flying++
		return true
	}
	entry.done = make(chan struct{})
	at.waiting = append(at.waiting, entry)
	if at.timer == nil {
		at.timer = time.AfterFunc(b.gather, func() { b.depart(key) })
	}
	return false
}

// landed: a request is back, and those who wait may go.
func (b *batcher) landed(key string) {
	b.mutex.Lock()
	at := b.lanes[key]
	at.flying--
	waiting := at.take()
	b.clean(key, at)
	b.mutex.Unlock()
	b.send(key, at.shared, waiting)
}

// depart: those who wait have waited for long enough.
func (b *batcher) depart(key string) {
	b.mutex.Lock()
	at := b.lanes[key]
	if at == nil {
		b.mutex.Unlock()
		return
	}
	waiting := at.take()
	b.clean(key, at)
	b.mutex.Unlock()
	b.send(key, at.shared, waiting)
}

// take whoever waits: they are under way from here on.
func (l *lane) take() []*entry {
	waiting := l.waiting
	l.waiting = nil
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	if len(waiting) > 0 {
		l.flying++
	}
	return waiting
}

func (b *batcher) clean(key string, at *lane) {
	if at.flying == 0 && len(at.waiting) == 0 {
		delete(b.lanes, key)
	}
}

func (b *batcher) send(key string, shared shared, waiting []*entry) {
	if len(waiting) == 0 {
		return
	}
	batches := b.cut(shared, waiting)
	if len(batches) == 0 {
		b.landed(key)
		return
	}
	for i, batch := range batches {
		go func() {
			newFlight(b.engine, shared, batch).together()
			if i == 0 {
				b.landed(key)
			}
		}()
	}
}

// cut those who wait into batches that are small enough. Whoever asks for what a batch asks for already goes along with it.
func (b *batcher) cut(shared shared, waiting []*entry) [][]*entry {
	var batches [][]*entry
	var items, bytes int
	asked := map[string]int{}
	for _, entry := range waiting {
		if entry.isOver() {
			continue
		}
		known, more := shared.isShared(entry), sizeOf(entry)
		if at, ok := asked[entry.units[0].text]; known && ok {
			batches[at] = append(batches[at], entry)
			continue
		}
		if len(batches) == 0 || items+len(entry.units) > b.items || bytes+more > shared.operation.bytes {
			batches = append(batches, nil)
			items, bytes = 0, len(shared.operation.before)+len(after)
		}
		last := len(batches) - 1
		batches[last] = append(batches[last], entry)
		items, bytes = items+len(entry.units), bytes+more
		if known {
			asked[entry.units[0].text] = last
		}
	}
	return batches
}

func sizeOf(entry *entry) int {
	size := 0
	for i := range entry.units {
		size += len(entry.units[i].json) + 1
	}
	return size
}

func only(one *entry) []*entry { return []*entry{one} }
