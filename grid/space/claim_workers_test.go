package space_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/grid/space"
)

// TestWorkers lets workers claim, finish, give back, prolong and forget jobs while
// time passes, leaders change and the partition goes through snapshots, and checks
// what claims promise: no job is lost, none has two holders at once, tokens only
// grow, attempts are counted to the one, a job is dead exactly after its last, and
// jobs of a group are handed out one at a time in the order of their writing.
func TestWorkers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorkers(t)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			w.step()
		}
		w.nothingLost()
	})
}

// job is what the test knows of one, by its own reckoning.
type job struct {
	group    string // "": of no group
	attempts int
	holder   space.Token
	held     bool
	hidden   bool       // held, or given back with a delay
	counts   bool       // the end of the delay counts
	until    space.Time // of the claim or the delay
	done     bool
	dead     bool
}

type workers struct {
	t        *rapid.T
	p        *space.Partition
	now      space.Time
	limit    int // attempts, 0 for no limit
	jobs     []*job
	last     space.Token
	sequence uint64
	grouped  bool
}

func newWorkers(t *rapid.T) *workers {
	w := &workers{t: t, p: space.New(1, testHistory), limit: rapid.IntRange(0, 3).Draw(t, "limit"), grouped: rapid.Bool().Draw(t, "grouped")}
	group := ""
	if w.grouped {
		group = "g"
	}
	for _, d := range []space.Definition{
		{ID: 1, Name: "jobs", Group: group, MaxAttempts: w.limit, DeadLetter: 2, ClaimLease: 9, ScanLimit: -1},
		{ID: 2, Name: "dead"},
	} {
		w.apply(space.DefineCommand(&d))
	}
	return w
}

func (w *workers) apply(c space.Command) space.Reply {
	w.t.Helper()
	b := w.p.ApplyBytes(w.now, c.Append(nil))
	if c.Session != 0 && rapid.IntRange(0, 3).Draw(w.t, "repeat") == 0 {
		if again := w.p.ApplyBytes(w.now, c.Append(nil)); !bytes.Equal(again, b) {
			w.t.Fatal("a repeat is answered differently")
		}
	}
	r, err := space.DecodeReply(b)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *workers) one(o space.Op) space.Result {
	w.t.Helper()
	w.sequence++
	r := w.apply(space.Command{
		History: testHistory, Session: 7, Sequence: w.sequence, Acked: w.sequence, Deadline: w.now + 1000, Ops: []space.Op{o},
	})
	return r.Results[0]
}

func (w *workers) step() {
	switch rapid.IntRange(0, 9).Draw(w.t, "step") {
	case 0, 1:
		w.write()
	case 2, 3, 4:
		w.claim()
	case 5, 6, 7:
		w.finish()
	case 8:
		w.now += space.Time(rapid.IntRange(1, 12).Draw(w.t, "time"))
		w.pass()
		w.apply(space.TickCommand())
	case 9:
		w.interrupt()
	}
}

func (w *workers) interrupt() {
	if rapid.Bool().Draw(w.t, "leader") {
		w.apply(space.EpochCommand(0))
		return
	}
	var b bytes.Buffer
	err := w.p.Image().Export(&b)
	if err == nil {
		w.p, err = space.Restore(&b)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *workers) write() {
	j := &job{group: rapid.SampledFrom([]string{"", "a", "b"}).Draw(w.t, "group")}
	fields := map[string]any{"n": len(w.jobs)}
	if j.group != "" {
		fields["g"] = j.group
	}
	if !w.grouped {
		j.group = ""
	}
	w.one(space.Op{Code: space.OpWrite, Space: 1, Key: fmt.Append(nil, len(w.jobs)), Kind: space.KindFields, Value: encode(fields)})
	w.jobs = append(w.jobs, j)
}

// available returns the jobs that may be handed out, in order.
func (w *workers) available() (free []int) {
	busy := map[string]bool{}
	for _, j := range w.jobs {
		if j.hidden {
			busy[j.group] = true
		}
	}
	delete(busy, "")
	for i, j := range w.jobs {
		if j.done || j.dead || j.hidden || busy[j.group] {
			continue
		}
		free = append(free, i)
		busy[j.group] = j.group != ""
	}
	return free
}

func (w *workers) claim() {
	limit := rapid.IntRange(1, 3).Draw(w.t, "limit")
	free := w.available()
	r := w.one(space.Op{Code: space.OpClaimMatch, Space: 1, Limit: limit})
	if len(r.Entries) != min(limit, len(free)) {
		w.t.Fatalf("%d jobs are handed out of %v", len(r.Entries), free)
	}
	for i, e := range r.Entries {
		j := w.jobs[free[i]]
		if string(e.Key) != fmt.Sprint(free[i]) {
			w.t.Fatalf("job %s is handed out, %d is the oldest of its group", e.Key, free[i])
		}
		if j.held {
			w.t.Fatalf("job %s has two holders", e.Key)
		}
		if e.Attempts != j.attempts {
			w.t.Fatalf("job %s tells of %d attempts, there were %d", e.Key, e.Attempts, j.attempts)
		}
		if e.Token.Epoch < w.last.Epoch || e.Token.Number <= w.last.Number {
			w.t.Fatalf("token %v after %v", e.Token, w.last)
		}
		w.last = e.Token
		j.holder, j.held, j.hidden, j.until = e.Token, true, true, w.now+9
	}
}

// finish lets a worker end or prolong its claim, as it may think it still holds.
func (w *workers) finish() {
	var claimed []*job
	for _, j := range w.jobs {
		if j.holder != (space.Token{}) {
			claimed = append(claimed, j)
		}
	}
	if len(claimed) == 0 {
		return
	}
	j := claimed[rapid.IntRange(0, len(claimed)-1).Draw(w.t, "job")]
	o := space.Op{Token: j.holder, Code: rapid.SampledFrom([]space.OpCode{space.OpAck, space.OpNack, space.OpNack, space.OpExtend}).Draw(w.t, "how")}
	if o.Code == space.OpNack {
		o.Lease = time.Duration(rapid.SampledFrom([]int{0, 4}).Draw(w.t, "delay"))
		o.Flags = space.OpFlags(rapid.SampledFrom([]int{0, int(space.FlagUncounted)}).Draw(w.t, "counted"))
	}
	want := space.OK
	if !j.held {
		want = space.CodeFenced
	}
	if r := w.one(o); r.Code != want {
		w.t.Fatalf("%v of a job that is held: %v: %v", o.Code, j.held, r.Code)
	}
	if !j.held {
		return
	}
	counted := o.Flags&space.FlagUncounted == 0
	switch {
	case o.Code == space.OpAck:
		j.done, j.held, j.hidden = true, false, false
	case o.Code == space.OpExtend:
		j.until = w.now + 9
	case o.Lease == 0 || counted && w.limit == j.attempts+1:
		w.release(j, counted)
	default:
		j.held, j.counts, j.until = false, counted, w.now+4
	}
}

// pass ends what has ended by now.
func (w *workers) pass() {
	for _, j := range w.jobs {
		if j.hidden && j.until <= w.now {
			w.release(j, j.held || j.counts)
		}
	}
}

func (w *workers) release(j *job, counted bool) {
	j.held, j.hidden = false, false
	if counted {
		j.attempts++
		j.dead = j.attempts == w.limit
	}
}

// nothingLost finds every job where it has to be, and nowhere else.
func (w *workers) nothingLost() {
	where := map[string]string{}
	for _, id := range []space.ID{1, 2} {
		w.p.Scan(id, 0, func(e space.Entry) bool {
			where[string(e.Key)] += fmt.Sprintf("%d %v ", id, e.Claimed)
			return true
		})
	}
	for i, j := range w.jobs {
		want := fmt.Sprintf("1 %v ", j.hidden)
		switch {
		case j.done:
			want = ""
		case j.dead:
			want = "2 false "
		}
		if got := where[fmt.Sprint(i)]; got != want {
			w.t.Fatalf("job %d is at %q, want %q", i, got, want)
		}
	}
}
