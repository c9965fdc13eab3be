package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/check"
)

// A history that a client wrote reads back; of a client that was killed the line
// that it did not live to end is left out, and nothing else is.
func TestWorkLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	l, err := openWorkLog(path)
	if err != nil {
		t.Fatal(err)
	}
	want := []check.Write{
		{Entry: check.Entry{Key: "a", Kind: "k", Number: 1}, Outcome: check.Done},
		{Entry: check.Entry{Key: "b", Kind: "k", Number: 2}},
	}
	for i := range want {
		if err := l.note(&want[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		n    int // lines read; -1 is an error
	}{
		"whole":            {string(whole), 2},
		"a line cut short": {string(whole) + `{"key":"c"`, 2},
		"a cut before it":  {string(whole[:len(whole)-1]), 1},
		"damage inside":    {"{\n" + string(whole), -1},
		"a word for none":  {`{"key":"a","outcome":"perhaps"}` + "\n", -1},
		"nothing":          {"", 0},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readWorkLog[check.Write](path)
		if (err != nil) != (c.n < 0) || err == nil && (len(got) != c.n || c.n == 2 && !reflect.DeepEqual(got, want)) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// An error that proves that a request had no effect is a refusal, one that proves
// nothing leaves it open, and one that should not occur ends the run.
func TestOutcomes(t *testing.T) {
	for err, want := range map[error]check.Outcome{
		nil: check.Done, grid.ErrIndeterminate: check.Unknown, grid.ErrUnavailable: check.Refused,
		grid.ErrNotFound: check.Refused, context.DeadlineExceeded: check.Unknown,
		fmt.Errorf("%w: %w", grid.ErrIndeterminate, grid.ErrUnavailable): check.Unknown,
	} {
		if got, bad := outcomeOf(err); got != want || bad != nil {
			t.Errorf("%v: %v, %v", err, got, bad)
		}
	}
	if _, bad := outcomeOf(grid.ErrInvalid); !errors.Is(bad, grid.ErrInvalid) {
		t.Errorf("an invalid request is an ordinary outcome: %v", bad)
	}
}

// A run passes if its history is good, leaders were killed and work was done; it
// has failed if not; and it is unknown if nobody could look.
func TestRunVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		killed int
		rate   float64
		good   bool
		err    error
		want   string
	}{
		"passed":                  {10, 100, true, nil, verdictPassed},
		"a bad history":           {10, 100, false, nil, verdictFailed},
		"too few leaders killed":  {9, 100, true, nil, verdictFailed},
		"too little work":         {10, 99, true, nil, verdictFailed},
		"nobody could look":       {10, 100, true, io.ErrUnexpectedEOF, verdictUnknown},
		"nor would it have been ": {0, 0, false, io.ErrUnexpectedEOF, verdictUnknown},
	} {
		w := &work{app: &app{err: io.Discard}, flags: workFlags{duration: 2 * time.Minute, minRate: 100}}
		w.killer.killed = c.killed
		w.enough("takes", c.rate)
		if got := w.verdict(c.err, c.good); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// What a holder wrote down becomes grants, with the answers that it lived to see,
// and what it had begun when it died is counted.
func TestGrantsOfHolder(t *testing.T) {
	job := check.Job{Group: "g", Place: 1}
	token := func(n uint64) check.Token { return check.Token{Epoch: 1, Number: n} }
	line := func(do string, n uint64, o check.Outcome) holderLine {
		return holderLine{Do: do, Job: job, Token: token(n), Asked: 1, Got: 2, Outcome: o}
	}
	late := line(doAck, 5, check.Refused)
	late.Late = true
	lines := []holderLine{
		line(doClaim, 5, check.Done), line(doExtend, 5, check.Unknown), line(doExtend, 5, check.Done), line(doWork, 5, 0),
		line(doAck, 5, check.Unknown), line(doClaim, 6, check.Done), late, // it has it again meanwhile
		line(doWork, 6, 0), line(doNack, 6, check.Unknown), line(doNack, 6, check.Done),
		line(doClaim, 7, check.Done), line(doWork, 7, 0), line(doAck, 7, check.Unknown), // killed before the answer
		line(doClaim, 8, check.Done), // killed while it worked
	}
	var tally claimsTally
	grants, open, err := grantsOf("h", lines, &tally)
	if err != nil {
		t.Fatal(err)
	}
	grant := func(n uint64) check.Grant {
		return check.Grant{Job: job, Token: token(n), Holder: "h", Asked: 1, Got: 2}
	}
	want := []check.Grant{grant(5), grant(6), grant(7), grant(8)}
	want[0].Acked, want[0].Ack, want[0].AckAsked, want[0].AckGot = true, check.Refused, 1, 2
	want[2].Acked, want[2].AckAsked, want[2].AckGot = true, 1, 2
	if !reflect.DeepEqual(grants, want) || open != 1 {
		t.Errorf("%d open, grants\n%+v, want\n%+v", open, grants, want)
	}
	if tally != (claimsTally{refusedLate: 1, nacked: 1, extended: 1}) {
		t.Errorf("%+v", tally)
	}
	if _, _, err := grantsOf("h", lines[1:], &tally); err == nil {
		t.Error("a history without its first claim is read as if it were whole")
	}
}
