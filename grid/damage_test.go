package grid_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
)

// trio is three members with real folders, that meet over loopback.
type trio struct {
	t       *testing.T
	configs []grid.Config
	members []*grid.Grid
	fatal   chan error
}

func newTrio(t *testing.T) *trio {
	x := &trio{t: t, members: make([]*grid.Grid, 3), fatal: make(chan error, 16)}
	var gossip []string
	for range 3 {
		// A port that is free now, and the same after every restart.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		gossip = append(gossip, l.Addr().String())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		x.configs = append(x.configs, grid.Config{
			Name: fmt.Sprint("m", i), Dir: t.TempDir(), Listen: "127.0.0.1:0", Gossip: gossip[i], Join: gossip,
			Expect: 3, Partitions: 4, OnFatal: func(err error) { x.fatal <- err },
		})
	}
	t.Cleanup(func() {
		for _, g := range x.members {
			if g != nil {
				_ = g.Close() // what failed has been reported
			}
		}
	})
	for i := range 3 {
		if err := x.start(i); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		x.ready(i)
	}
	return x
}

func (x *trio) start(i int) (err error) {
	x.members[i], err = grid.Open(x.t.Context(), x.configs[i])
	return err
}

func (x *trio) ready(i int) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), 30*time.Second)
	defer cancel()
	if err := x.members[i].Ready(ctx); err != nil {
		x.t.Fatalf("member %d is not ready: %v", i, err)
	}
}

func (x *trio) stop(i int) {
	x.t.Helper()
	if err := x.members[i].Close(); err != nil {
		x.t.Fatalf("close member %d: %v", i, err)
	}
	x.members[i] = nil
}

func (x *trio) put(i int, key, value string) {
	x.t.Helper()
	var err error
	// Leaders change while a member goes; to write the same again does no harm.
	for range 20 {
		var seats *grid.Space[seat]
		if seats, err = grid.OpenSpace[seat](x.t.Context(), x.members[i], "seats"); err == nil {
			_, err = seats.Write(x.t.Context(), seat{ID: key, Buyer: value})
		}
		if err == nil {
			return
		}
	}
	x.t.Fatal(err)
}

func (x *trio) get(i int, key string) string {
	x.t.Helper()
	seats, err := grid.OpenSpace[seat](x.t.Context(), x.members[i], "seats")
	if err != nil {
		x.t.Fatal(err)
	}
	s, err := seats.Read(x.t.Context(), key)
	if err != nil {
		x.t.Fatalf("%s through member %d: %v", key, i, err)
	}
	return s.Buyer
}

// stored waits until a member's store has everything, and fails if it never does.
func (x *trio) stored(i int) {
	x.t.Helper()
	var s grid.PumpStatus
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		b, err := x.members[i].Inspect(x.t.Context(), grid.MemberID(x.configs[i].Name), "pump")
		if err == nil {
			err = json.Unmarshal(b, &s)
		}
		if err != nil {
			x.t.Fatal(err)
		}
		if s.State == "following" && s.BacklogChanges == 0 {
			return
		}
	}
	x.t.Fatalf("the store of member %d is %+v", i, s)
}

// hurt does something to every file of a kind in a folder, and returns how many
// there were.
func hurt(t *testing.T, dir, kind string, do func([]byte) []byte) (hit int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(filepath.Base(path), kind) {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		hit++
		if b = do(b); b == nil {
			return os.Remove(path)
		}
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return hit
}

func flip(b []byte) []byte {
	b = slices.Clone(b)
	if len(b) > 0 {
		b[len(b)/2] ^= 1
	}
	return b
}

func gone([]byte) []byte { return nil }

// Whatever becomes of the files of one of three members, logs, store or both: reads
// are right through every member, its store is filled again, also with what was
// written meanwhile, and what was damaged is kept beside.
func TestAMemberWithDamagedFilesIsWholeAgain(t *testing.T) {
	for _, c := range []struct {
		name string
		dirs []string
		kind string
		do   func([]byte) []byte
	}{
		{"a table of the store", []string{"store"}, ".sst", flip},
		{"the manifests of both", []string{"raft", "store"}, "MANIFEST", gone},
	} {
		t.Run(c.name, func(t *testing.T) { testDamagedFiles(t, c.dirs, c.kind, c.do) })
	}
}

func testDamagedFiles(t *testing.T, dirs []string, kind string, do func([]byte) []byte) {
	const member = 2
	x := newTrio(t)
	want := map[string]string{}
	put := func(from int, round string) {
		for i := range 6 {
			key := fmt.Sprint(round, i)
			want[key] = fmt.Sprint("value of ", key)
			x.put(from, key, want[key])
		}
	}
	put(0, "before")
	x.stored(member)
	// Started twice: what a start replays is in tables afterwards.
	x.stop(member)
	if err := x.start(member); err != nil {
		t.Fatal(err)
	}
	x.ready(member)
	x.stop(member)
	for _, dir := range dirs {
		if hurt(t, filepath.Join(x.configs[member].Dir, dir), kind, do) == 0 {
			t.Fatalf("there is no %s in %s", kind, dir)
		}
	}
	put(1, "away")
	err := x.start(member)
	select {
	case fatal := <-x.fatal:
		// Found after the start: the process ends, and the next one knows.
		t.Logf("the member ends: %v, %v", fatal, err)
		if err == nil {
			_ = x.members[member].Close()
		}
		err = x.start(member)
	default:
	}
	if err != nil {
		t.Fatal(err)
	}
	x.ready(member)
	put(0, "after")
	x.stored(member)
	for key, v := range want {
		for i := range x.members {
			if got := x.get(i, key); got != v {
				t.Errorf("%s is %q through member %d, want %q", key, got, i, v)
			}
		}
	}
	for _, dir := range dirs {
		aside, err := filepath.Glob(filepath.Join(x.configs[member].Dir, dir+".damaged-*"))
		if err != nil || len(aside) != 1 {
			t.Errorf("of %s are set aside %v, %v", dir, aside, err)
		}
	}
}

// A lone member that has lost its logs and its store says so, and where; nothing is
// begun anew until the loss is accepted.
func TestALoneMemberWithDamagedFilesRefuses(t *testing.T) {
	c := grid.Config{Dir: t.TempDir(), Name: "m1", Partitions: 4, OnFatal: func(err error) { t.Error(err) }}
	g, err := grid.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	if hurt(t, c.Dir, "MANIFEST", gone) == 0 {
		t.Fatal("there is nothing to damage")
	}
	if _, err := grid.Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), filepath.Join(c.Dir, "raft")) || !strings.Contains(err.Error(), "accept") {
		t.Fatalf("a lone damaged member: %v", err)
	}
	c.AcceptLoss = true
	if g, err = grid.Open(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(g.Close()); err != nil {
		t.Fatal(err)
	}
}
