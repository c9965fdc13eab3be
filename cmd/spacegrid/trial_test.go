package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Rows are equal if they are equal as JSON values, whatever their order, spacing
// and way of writing numbers, and different otherwise.
func TestRowsByValue(t *testing.T) {
	read := func(text string) jsonRows {
		path := filepath.Join(t.TempDir(), "rows.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		rows, err := readRows(path, "id")
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	want := read(`{"id":1,"x":0.5,"y":[1,{"b":2,"a":1}]}` + "\n" + `{"id":9007199254740993}` + "\n")
	for name, c := range map[string]struct {
		text string
		n    int
	}{
		"the same":                  {`{"id":9007199254740993}` + "\n" + ` {"y":[1,{"a":1,"b":2}], "x":5e-1,"id":1}`, 0},
		"another large integer":     {`{"id":9007199254740992}` + "\n" + `{"id":1,"x":0.5,"y":[1,{"b":2,"a":1}]}`, 2},
		"a row less":                {`{"id":9007199254740993}`, 1},
		"another order in a list":   {`{"id":9007199254740993}` + "\n" + `{"id":1,"x":0.5,"y":[{"b":2,"a":1},1]}`, 1},
		"a number that became text": {`{"id":9007199254740993}` + "\n" + `{"id":1,"x":"0.5","y":[1,{"b":2,"a":1}]}`, 1},
	} {
		if n, first := difference(want, read(c.text)); n != c.n || (n == 0) != (first == "") {
			t.Errorf("%s: %d differences, want %d: %s", name, n, c.n, first)
		}
	}
}

// The trace of one write is good if a majority had synced the file that the write
// went to before the leader began to answer.
func TestSyncedBeforeAnswer(t *testing.T) {
	const (
		client   = "TCP:[127.0.0.1:1->127.0.0.1:9]"
		request  = `10 1.000 read(7<` + client + `>, "..mark..", 4096) = 64` + "\n"
		write    = `11 1.010 write(5</d/raft/log/3.log>, "..mark..", 99) = 99` + "\n"
		sync     = `11 1.020 fdatasync(5</d/raft/log/3.log>) = 0` + "\n"
		answer   = `12 1.040 write(7<` + client + `>, "ok", 2) = 2` + "\n"
		slowSync = `11 1.020 fdatasync(5</d/raft/log/3.log> <unfinished ...>` + "\n" +
			`12 1.040 write(7<` + client + `>, "ok", 2) = 2` + "\n" +
			`11 1.050 <... fdatasync resumed>) = 0` + "\n"
		follower     = `20 1.005 read(8<TCP:[a->b]>, "..mark..", 4096) = 64` + "\n" + `21 1.011 write(6</d/raft/log/8.log>, "..mark..", 9) = 9` + "\n"
		followerSync = `21 1.012 fdatasync(6</d/raft/log/8.log> <unfinished ...>` + "\n" + `21 1.030 <... fdatasync resumed>) = 0` + "\n"
		lateSync     = `21 1.060 fdatasync(6</d/raft/log/8.log>) = 0` + "\n"
		failedSync   = `21 1.012 fdatasync(6</d/raft/log/8.log>) = -1 EIO (Input/output error)` + "\n"
		otherSync    = `21 1.012 fdatasync(6</d/raft/log/9.log>) = 0` + "\n"
		early        = `21 1.001 fdatasync(6</d/raft/log/8.log>) = 0` + "\n"
	)
	for name, c := range map[string]struct {
		leader    string
		followers []string
		bad       string // part of the error, empty if there is none
	}{
		"as promised":                 {request + write + sync + answer, []string{follower + followerSync, ""}, ""},
		"the second follower will do": {request + write + sync + answer, []string{follower + lateSync, follower + followerSync}, ""},
		"no follower":                 {request + write + sync + answer, []string{"", ""}, "1 of 3 had synced"},
		"followers sync too late":     {request + write + sync + answer, []string{follower + lateSync, follower + lateSync}, "1 of 3 had synced"},
		"a failed sync is none":       {request + write + sync + answer, []string{follower + failedSync, ""}, "never synced"},
		"another file's sync is none": {request + write + sync + answer, []string{follower + otherSync, ""}, "never synced"},
		"a sync before the write":     {request + write + sync + answer, []string{early + follower, ""}, "never synced"},
		"the leader did not sync":     {request + write + answer, []string{follower + followerSync, ""}, "never synced"},
		"the leader's sync had begun": {request + write + slowSync, []string{follower + followerSync, ""}, "before its own sync"},
		"the leader did not write":    {request + answer, []string{follower + followerSync, ""}, "not written to a log"},
		"no answer":                   {request + write + sync, []string{follower + followerSync, ""}, "not answered"},
		"no request":                  {write + sync + answer, []string{follower + followerSync, ""}, "did not arrive"},
	} {
		t.Run(name, func(t *testing.T) {
			parse := func(s string) []systemCall {
				calls, err := parseTrace(strings.NewReader(s))
				if err != nil {
					t.Fatal(err)
				}
				return calls
			}
			var followers [][]systemCall
			for _, f := range c.followers {
				followers = append(followers, parse(f))
			}
			err := syncedBeforeAnswer(parse(c.leader), followers, "/raft/", "mark")
			switch {
			case c.bad == "" && err != nil:
				t.Error(err)
			case c.bad != "" && (err == nil || !strings.Contains(err.Error(), c.bad)):
				t.Errorf("error %v, want one about %q", err, c.bad)
			}
		})
	}
}

// A client that follows sees through a stream that repeats, loses or swaps
// changes.
func TestFollowerChecks(t *testing.T) {
	events := func(seqs ...uint64) *socketFrame {
		f := &socketFrame{T: "events"}
		for _, s := range seqs {
			f.Events = append(f.Events, socketEvent{Op: "written", Partition: 1, Seq: s, Key: string(rune('a' + s))})
		}
		return f
	}
	take := func(connections ...[]*socketFrame) *follower {
		f := &follower{seen: map[int]uint64{}, changes: map[string]uint64{}}
		for _, frames := range connections {
			fresh := map[int]bool{}
			for _, frame := range frames {
				if err := f.take(frame, fresh); err != nil {
					t.Fatal(err)
				}
			}
		}
		return f
	}
	watching := func(resumed bool) *socketFrame { return &socketFrame{T: "watching", Resumed: resumed} }
	for name, c := range map[string]struct {
		f                    *follower
		violations, repeated int
	}{
		"in order":                       {take([]*socketFrame{watching(false), events(1, 2), events(3)}), 0, 0},
		"repeated behind a cursor":       {take([]*socketFrame{events(1, 2)}, []*socketFrame{events(2, 3)}), 0, 1},
		"repeated on one connection":     {take([]*socketFrame{events(1, 2, 2)}), 1, 0},
		"repeated after it went on":      {take([]*socketFrame{events(1, 2)}, []*socketFrame{events(3, 2)}), 1, 0},
		"out of order":                   {take([]*socketFrame{events(1, 3, 2)}), 1, 0},
		"a reset":                        {take([]*socketFrame{{T: "reset", Reason: "trimmed"}}), 1, 0},
		"a cursor that was not honoured": {take([]*socketFrame{{T: "mark", Cursor: "c"}}, []*socketFrame{watching(false)}), 1, 0},
	} {
		if len(c.f.violations) != c.violations || c.f.repeated != c.repeated {
			t.Errorf("%s: %d repeated, violations %q", name, c.f.repeated, c.f.violations)
		}
	}
}
