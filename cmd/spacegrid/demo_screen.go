package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// screenEvery is how often the screen is renewed.
const screenEvery = time.Second

// screen shows a running demo: a table drawn over itself on a terminal, a line
// each second elsewhere.
type screen struct {
	out      io.Writer
	terminal bool
	start    time.Time
	sample   func() sample

	mu    sync.Mutex // guards all below and the writing
	phase string
	drawn int // lines of the table on the terminal
	last  sample
	lastT time.Time

	stop chan struct{}
	wg   sync.WaitGroup
}

// sample is what the screen shows at one moment.
type sample struct {
	members []string // each with its state in a word
	arrived int64
	inside  int64
	free    int
	tally
}

func newScreen(out io.Writer, take func() sample) *screen {
	s := &screen{out: out, terminal: isTerminal(out), start: time.Now(), sample: take, stop: make(chan struct{})}
	s.lastT = s.start
	s.wg.Go(s.run)
	return s
}

// isTerminal reports whether a writer is a terminal that shows colours and moves
// its cursor.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (s *screen) run() {
	tick := time.NewTicker(screenEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.draw()
		case <-s.stop:
			return
		}
	}
}

// close stops the screen and leaves its last picture.
func (s *screen) close() {
	close(s.stop)
	s.wg.Wait()
}

// sayf begins a new phase with a sentence.
func (s *screen) sayf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipeLocked()
	s.phase = fmt.Sprintf(format, args...)
	fmt.Fprintf(s.out, "%6.1fs  %s\n", time.Since(s.start).Seconds(), s.phase)
}

func (s *screen) wipeLocked() {
	if s.drawn > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA\x1b[J", s.drawn)
		s.drawn = 0
	}
}

func (s *screen) draw() {
	now, at := s.sample(), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	rate := float64(now.sold-s.last.sold) / at.Sub(s.lastT).Seconds()
	s.last, s.lastT = now, at
	elapsed := at.Sub(s.start).Seconds()
	if !s.terminal {
		if now.inside > 0 || rate > 0 {
			fmt.Fprintf(s.out, "%6.1fs  %d buyers came, %d wait; %d seats sold (%.0f/s), %d free; p99 %s; %s\n", elapsed,
				now.arrived, now.inside, now.sold, rate, now.free, short(now.p99), strings.Join(now.members, ", "))
		}
		return
	}
	s.wipeLocked()
	rows := [][2]string{
		{"members", strings.Join(now.members, "   ")},
		{"buyers", fmt.Sprintf("%d came, %d wait", now.arrived, now.inside)},
		{"seats", fmt.Sprintf("%d sold, %d free", now.sold, now.free)},
		{"sales", fmt.Sprintf("%.0f a second", rate)},
		{"refused", fmt.Sprintf("%d somebody was faster", now.refused)},
		{"answer", fmt.Sprintf("half within %s, 99 %% within %s", short(now.p50), short(now.p99))},
	}
	for _, r := range rows {
		fmt.Fprintf(s.out, "         %-10s %s\n", r[0], r[1])
	}
	s.drawn = len(rows)
}

// short writes a duration with three digits or so.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
