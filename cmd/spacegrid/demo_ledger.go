package main

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Range and precision of the latencies that the ledger keeps, in microseconds.
const (
	latencyMax    = int64(time.Minute / time.Microsecond)
	latencyDigits = 3
)

// claim says that a buyer asked for a seat.
type claim struct {
	seat  string
	buyer string
}

// receipt is a claim that the grid has acknowledged.
type receipt struct {
	claim
	at time.Time // when the answer arrived
}

// ledger is the buyers' own account of the sale, kept on their side of the
// network. It knows nothing of the members but their answers. Its methods may be
// called concurrently.
type ledger struct {
	mu        sync.Mutex
	receipts  []receipt
	unclear   []claim // asked for, outcome unknown
	refused   int     // the seat had been sold before
	failed    int     // proved to have had no effect
	firstFail error
	latency   *hdrhistogram.Histogram
}

func newLedger() *ledger {
	return &ledger{latency: hdrhistogram.New(1, latencyMax, latencyDigits)}
}

// sold records an acknowledgement; asked is when the request was due.
func (l *ledger) sold(c claim, asked, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.receipts = append(l.receipts, receipt{c, now})
	l.tookLocked(now.Sub(asked))
}

// refusal records that the seat was gone.
func (l *ledger) refusal(asked, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused++
	l.tookLocked(now.Sub(asked))
}

// doubt records a request whose outcome is unknown.
func (l *ledger) doubt(c claim, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unclear = append(l.unclear, c)
	l.noteLocked(err)
}

// failure records a request that had no effect.
func (l *ledger) failure(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed++
	l.noteLocked(err)
}

func (l *ledger) noteLocked(err error) {
	if l.firstFail == nil {
		l.firstFail = err
	}
}

func (l *ledger) tookLocked(d time.Duration) {
	// A value beyond the range counts as the longest one.
	_ = l.latency.RecordValue(min(max(d.Microseconds(), 1), latencyMax))
}

// tally is the ledger in numbers.
type tally struct {
	sold, refused, unclear, failed int
	p50, p99                       time.Duration
}

func (l *ledger) tally() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	return tally{
		sold: len(l.receipts), refused: l.refused, unclear: len(l.unclear), failed: l.failed,
		p50: time.Duration(l.latency.ValueAtQuantile(50)) * time.Microsecond,
		p99: time.Duration(l.latency.ValueAtQuantile(99)) * time.Microsecond,
	}
}

// longestGap returns the longest time without a receipt of those that count, among
// the gaps that end after from and begin before to. If none comes after from, the
// gap is all of the time up to to. Receipts are in the order of their arrival.
func longestGap(receipts []receipt, counts func(*receipt) bool, from, to time.Time) time.Duration {
	var longest time.Duration
	last, resumed := from, false
	for i := range receipts {
		r := &receipts[i]
		if !counts(r) {
			continue
		}
		if !r.at.Before(from) {
			if last.After(to) {
				break
			}
			longest, resumed = max(longest, r.at.Sub(last)), true
		}
		last = r.at
	}
	if !resumed {
		return to.Sub(last)
	}
	return longest
}
