package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// systemCall is one call as strace -f -ttt -yy shows it: seconds since 1970, the
// file or socket it is about, its arguments and result as text.
type systemCall struct {
	name   string
	start  float64
	end    float64 // of a call that other threads' interrupted in the trace: when it resumed
	file   string
	text   string
	failed bool
}

var (
	callLine    = regexp.MustCompile(`^(\d+) +(\d+\.\d+) (\w+)\((.*)$`)
	resumedLine = regexp.MustCompile(`^(\d+) +(\d+\.\d+) <\.{3} (\w+) resumed>(.*)$`)
	callFile    = regexp.MustCompile(`^\d+<(.*?)>[,)\s]`)
)

const unfinishedMark = "<unfinished ...>"

// parseTrace reads a trace. The calls are in the order of their starts; one that
// never ended is left out.
func parseTrace(in io.Reader) ([]systemCall, error) {
	var calls []systemCall
	open := map[string]systemCall{} // by thread
	s := bufio.NewScanner(in)
	s.Buffer(nil, 8<<20)
	for s.Scan() {
		line := s.Text()
		if m := resumedLine.FindStringSubmatch(line); m != nil {
			c, ok := open[m[1]]
			delete(open, m[1])
			if !ok || c.name != m[3] {
				continue // the trace began in the middle of it
			}
			c.end = seconds(m[2])
			c.text += m[4]
			calls = append(calls, c.finish())
			continue
		}
		m := callLine.FindStringSubmatch(line)
		if m == nil {
			continue // signals and exits
		}
		c := systemCall{name: m[3], start: seconds(m[2]), end: seconds(m[2]), text: m[4]}
		if f := callFile.FindStringSubmatch(m[4]); f != nil {
			c.file = f[1]
		}
		if rest, ok := strings.CutSuffix(m[4], unfinishedMark); ok {
			c.text = rest
			open[m[1]] = c
			continue
		}
		calls = append(calls, c.finish())
	}
	slices.SortStableFunc(calls, func(a, b systemCall) int {
		switch {
		case a.start < b.start:
			return -1
		case a.start > b.start:
			return 1
		}
		return 0
	})
	return calls, s.Err()
}

func (c systemCall) finish() systemCall {
	c.failed = strings.Contains(c.text, "= -1 ")
	return c
}

func seconds(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic("the pattern lets only numbers through: " + err.Error())
	}
	return f
}

func (c *systemCall) reads() bool {
	return c.name == "read" || c.name == "recvfrom" || c.name == "recvmsg"
}

func (c *systemCall) writes() bool {
	switch c.name {
	case "write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg":
		return true
	}
	return false
}

func (c *systemCall) syncs() bool { return c.name == "fsync" || c.name == "fdatasync" }

// durable returns when the log of a member had a marked record on disk: the end of
// the first successful sync of the file that the record was written to, begun
// after that. Files of the log have folder in their path.
func durable(calls []systemCall, folder, marker string) (float64, error) {
	for i := range calls {
		w := &calls[i]
		if !w.writes() || w.failed || !strings.Contains(w.file, folder) || !strings.Contains(w.text, marker) {
			continue
		}
		for j := i + 1; j < len(calls); j++ {
			if s := &calls[j]; s.syncs() && !s.failed && s.file == w.file && s.start >= w.end {
				return s.end, nil
			}
		}
		return 0, fmt.Errorf("%s was written to and never synced", w.file)
	}
	return 0, errors.New("the record was not written to a log")
}

// acknowledged returns when a member began to answer a marked request: the first
// write to the socket that it came from, after it came.
func acknowledged(calls []systemCall, marker string) (float64, error) {
	for i := range calls {
		r := &calls[i]
		if !r.reads() || !strings.Contains(r.text, marker) {
			continue
		}
		for j := i + 1; j < len(calls); j++ {
			if w := &calls[j]; w.writes() && w.file == r.file && w.start >= r.end {
				return w.start, nil
			}
		}
		return 0, errors.New("the request was not answered")
	}
	return 0, errors.New("the request did not arrive")
}

// syncedBeforeAnswer checks the traces of a leader and of its followers for one
// marked write: the leader and enough followers for a majority had it on disk
// before the leader began to answer.
func syncedBeforeAnswer(leader []systemCall, followers [][]systemCall, folder, marker string) error {
	answer, err := acknowledged(leader, marker)
	if err != nil {
		return fmt.Errorf("leader: %w", err)
	}
	own, err := durable(leader, folder, marker)
	if err != nil {
		return fmt.Errorf("leader: %w", err)
	}
	if own > answer {
		return fmt.Errorf("the leader answered %.6f s before its own sync had ended", own-answer)
	}
	have, need := 1, (len(followers)+1)/2+1
	var late error
	for i, f := range followers {
		at, err := durable(f, folder, marker)
		switch {
		case err != nil:
			late = errors.Join(late, fmt.Errorf("follower %d: %w", i+1, err))
		case at > answer:
			late = errors.Join(late, fmt.Errorf("follower %d: its sync ended %.6f s after the answer", i+1, at-answer))
		default:
			have++
		}
	}
	if have < need {
		return fmt.Errorf("%d of %d had synced when the leader answered: %w", have, len(followers)+1, late)
	}
	return nil
}
