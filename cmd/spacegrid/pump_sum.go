package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// sinkLine is one sink over all members.
type sinkLine struct {
	name, kind, state     string
	required, paused      bool
	backlog, dead, parked uint64
	bytes                 uint64
	lag                   time.Duration
	rate, batch           float64
	retries               int
	breaker               string
	retryIn               time.Duration
	written, batches      uint64
	// troubles say what is wrong, and on which members.
	troubles              map[string][]string
	resyncing, partitions int
}

// states of a sink, from good to bad: of several members the worst one counts.
var sinkStates = []string{"following", "behind", "paused", "failing"}

// breakers are ordered likewise.
var breakers = []string{"closed", "half-open", "open"}

func worse(order []string, a, b string) string {
	if slices.Index(order, a) > slices.Index(order, b) {
		return a
	}
	return b
}

// sumSinks sums up what the members say, in the order of the definitions.
func sumSinks(all []told[[]grid.SinkStatus], defs []grid.SinkDefinition) []sinkLine {
	lines := make([]sinkLine, 0, len(defs))
	for _, d := range defs {
		l := sinkLine{
			name: d.Name, kind: d.Kind, required: d.Required, paused: d.Paused, state: sinkStates[0], breaker: breakers[0],
			troubles: map[string][]string{},
		}
		fed := false
		for _, said := range all {
			for _, s := range said.Answer {
				if s.Sink == d.Name {
					fed = true
					l.add(said.Member, &s)
				}
			}
		}
		if !fed && d.Kind == "store" {
			continue // nothing is kept on disk
		}
		l.batch = float64(l.written) / float64(max(1, l.batches))
		lines = append(lines, l)
	}
	return lines
}

func (l *sinkLine) add(member string, s *grid.SinkStatus) {
	l.state, l.breaker = worse(sinkStates, l.state, s.State), worse(breakers, l.breaker, s.Breaker)
	l.backlog += s.BacklogChanges
	l.bytes += s.BacklogBytes
	l.dead += s.DeadLetters
	l.parked += s.Parked
	l.written += s.Written
	l.batches += s.Batches
	l.rate += s.Rate
	l.lag = max(l.lag, time.Duration(s.LagMillis)*time.Millisecond)
	l.retries = max(l.retries, s.Retries)
	l.retryIn = max(l.retryIn, time.Duration(s.RetryMS)*time.Millisecond)
	l.partitions += len(s.Partitions)
	if s.Trouble != "" && len(s.Partitions) > 0 {
		l.troubles[s.Trouble] = append(l.troubles[s.Trouble], member)
	}
	for i := range s.Partitions {
		p := &s.Partitions[i]
		if p.State == "resyncing" {
			l.resyncing++
		}
		l.retries = max(l.retries, p.Retries)
		if p.Trouble != "" && p.Trouble != s.Trouble {
			where := fmt.Sprintf("%s, partition %d", member, p.Partition)
			l.troubles[p.Trouble] = append(l.troubles[p.Trouble], where)
		}
	}
}

// maxTroubles bounds the lines about one sink.
const maxTroubles = 5

// advice says what is wrong with a sink and what to do, nothing if all is well.
func (l *sinkLine) advice() []string {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf("! "+l.name+": "+format, args...)) }
	troubles := make([]string, 0, len(l.troubles))
	for text := range l.troubles {
		troubles = append(troubles, text)
	}
	slices.SortFunc(troubles, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(l.troubles[b]), len(l.troubles[a])), strings.Compare(a, b))
	})
	for i, text := range troubles {
		if i == maxTroubles {
			say("and %d troubles more: spacegrid pump status -o json", len(troubles)-i)
			break
		}
		where := l.troubles[text]
		at := where[0]
		if len(where) > 1 {
			at = fmt.Sprintf("%s and %d others", at, len(where)-1)
		}
		say("%s (on %s)", text, at)
	}
	if len(troubles) > 0 && l.retryIn > 0 {
		say("it is tried again in %s by itself: put the sink right, nothing else is needed", l.retryIn.Round(100*time.Millisecond))
	}
	if l.resyncing > 0 {
		say("%d of %d partitions are brought up again from images: wait", l.resyncing, l.partitions)
	}
	switch {
	case l.backlog > 0 && l.paused:
		say("paused, %d changes wait: spacegrid pump resume %s", l.backlog, l.name)
	case l.backlog > 0 && len(troubles) == 0 && l.rate > 0 && l.lag > laggingAfter:
		say("%d changes behind, at the present rate for %s", l.backlog, time.Duration(math.Min(float64(l.backlog)/l.rate, 1e6)*float64(time.Second)).Round(time.Second))
	case l.backlog > 0 && len(troubles) == 0 && l.lag > laggingAfter:
		say("%d changes wait and none gets through: look at the members' logs", l.backlog)
	}
	if l.required && l.backlog > 0 && l.lag > laggingAfter {
		say("it is required: its changes are kept, and writes will be held back when there are too many")
	}
	if l.dead > 0 {
		say("%d dead letters, %d changes wait for them: spacegrid pump dead list %s, then replay or drop", l.dead, l.parked, l.name)
	}
	return lines
}

// laggingAfter is how old a backlog is before it is worth a word.
const laggingAfter = 5 * time.Second

func lagText(d time.Duration) string {
	if d >= 10*time.Second {
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// sizeText writes a number of bytes with three digits.
func sizeText(n uint64) string {
	const units = "KMGTP"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/(1<<10), 0
	for ; v >= 1000 && i < len(units)-1; i++ {
		v /= 1 << 10
	}
	return fmt.Sprintf("%.3g %ciB", v, units[i])
}
