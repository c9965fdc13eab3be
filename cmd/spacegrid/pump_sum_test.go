package main

import (
	"strings"
	"testing"

	"github.com/spacegrid/spacegrid/grid"
)

// The status of a sink says in one look what is wrong and what to do, and says
// nothing when all is well.
func TestAdvice(t *testing.T) {
	def := grid.SinkDefinition{Name: "db", Kind: "postgres", Required: true}
	ok := func() grid.SinkStatus {
		return grid.SinkStatus{
			PumpStatus: grid.PumpStatus{Sink: "db", State: "following"}, Breaker: "closed",
			Partitions: []grid.SinkPartitionStatus{{Partition: 3, State: "following"}},
		}
	}
	for _, x := range []struct {
		name   string
		paused bool
		change func(*grid.SinkStatus)
		want   []string // each in a line of its own; none: no line
	}{
		{"all is well", false, func(*grid.SinkStatus) {}, nil},
		{"a moment behind", false, func(s *grid.SinkStatus) { s.BacklogChanges, s.LagMillis, s.State = 100, 20, "behind" }, nil},
		{"down", false, func(s *grid.SinkStatus) {
			s.State, s.Trouble, s.Breaker, s.RetryMS, s.BacklogChanges, s.LagMillis = "failing", "connection refused", "open", 3000, 9, 60000
		}, []string{"connection refused (on m1)", "tried again in 3s", "writes will be held back"}},
		{"one partition", false, func(s *grid.SinkStatus) { s.Partitions[0].Trouble = "another grid's" }, []string{"another grid's (on m1, partition 3)"}},
		{"paused", true, func(s *grid.SinkStatus) { s.State, s.BacklogChanges = "paused", 7 }, []string{"7 changes wait: spacegrid pump resume db"}},
		{"dead letters", false, func(s *grid.SinkStatus) { s.DeadLetters, s.Parked = 2, 5 },
			[]string{"2 dead letters, 5 changes wait for them: spacegrid pump dead list db"}},
		{"slow", false, func(s *grid.SinkStatus) { s.BacklogChanges, s.LagMillis, s.Rate = 6000, 30000, 100 },
			[]string{"at the present rate for 1m0s", "writes will be held back"}},
		{"resync", false, func(s *grid.SinkStatus) { s.Partitions[0].State = "resyncing" }, []string{"1 of 1 partitions are brought up again"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			s, d := ok(), def
			x.change(&s)
			d.Paused = x.paused
			lines := sumSinks([]told[[]grid.SinkStatus]{{Member: "m1", Answer: []grid.SinkStatus{s}}}, []grid.SinkDefinition{d})
			got := lines[0].advice()
			if len(got) != len(x.want) {
				t.Fatalf("%d lines, want %d:\n%s", len(got), len(x.want), strings.Join(got, "\n"))
			}
			for i := range got {
				if !strings.Contains(got[i], x.want[i]) {
					t.Errorf("line %d is %q, want %q in it", i, got[i], x.want[i])
				}
			}
		})
	}
}

// Letters are named as they are listed.
func TestLetterID(t *testing.T) {
	id, err := letterID("17:4711")
	if err != nil || id.Partition != 17 || id.Seq != 4711 {
		t.Errorf("17:4711 is %+v, %v", id, err)
	}
	for _, s := range []string{"", "17", ":", "17:", "x:1", "99999:1", "1:-1"} {
		if _, err := letterID(s); err == nil {
			t.Errorf("%q was taken for a letter", s)
		}
	}
}
