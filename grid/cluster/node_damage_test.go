package cluster

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/spacegrid/spacegrid/grid/replica"
)

const damageDir = "/m/data"

var everyDamage = flag.Bool("every-damage", false, "let every kind of file meet every kind of damage")

// damage is what a disk does to the bytes of a file; nil removes it.
type damage struct {
	name string
	do   func(b []byte) []byte
}

var damages = []damage{
	{"first byte flipped", func(b []byte) []byte { return flipped(b, 0) }},
	{"middle flipped", func(b []byte) []byte { return flipped(b, len(b)/2) }},
	{"last byte flipped", func(b []byte) []byte { return flipped(b, len(b)-1) }},
	{"tail truncated", func(b []byte) []byte { return b[:max(0, len(b)-20)] }},
	{"truncated in the middle", func(b []byte) []byte { return b[:len(b)/2] }},
	{"4 KiB zeroed", func(b []byte) []byte {
		b = slices.Clone(b)
		at := len(b) / 2 / 4096 * 4096
		clear(b[at:min(len(b), at+4096)])
		return b
	}},
	{"missing", func([]byte) []byte { return nil }},
}

func flipped(b []byte, at int) []byte {
	b = slices.Clone(b)
	if at >= 0 && at < len(b) {
		b[at] ^= 0x04
	}
	return b
}

// files returns everything under a folder by its path.
func files(t *testing.T, fsys vfs.FS, dir string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	names, err := fsys.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		at := path.Join(dir, name)
		info, err := fsys.Stat(at)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			maps.Copy(all, files(t, fsys, at))
			continue
		}
		f, err := fsys.Open(at)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		all[at] = b
	}
	return all
}

// replace gives a file other bytes; nil removes it.
func replace(t *testing.T, fsys vfs.FS, at string, b []byte) {
	t.Helper()
	if b == nil {
		if err := fsys.Remove(at); err != nil {
			t.Fatal(err)
		}
		return
	}
	f, err := fsys.Create(at, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 0 {
		_, err = f.Write(slices.Clone(b))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// kindOf says what kind of file of a member a path is.
func kindOf(at string) string {
	base := path.Base(at)
	switch ext := path.Ext(base); {
	case ext == ".log", ext == ".sst", ext == ".snap":
		return ext
	case strings.HasPrefix(base, "marker."):
		return strings.Join(strings.SplitN(base, ".", 3)[:2], ".")
	}
	kind, _, _ := strings.Cut(base, "-")
	return kind
}

// Whatever a disk does to whichever file of one of three members, while it is away:
// nothing wrong is ever served, and the member is as good as before, from what it
// still has or, under a new incarnation, from the others.
//
// Without -every-damage each kind of file meets three kinds of damage: it is
// missing, and two that change from one kind to the next.
func TestADamagedMemberIsRebuiltFromTheOthers(t *testing.T) {
	for i, kind := range []string{".log", ".sst", "MANIFEST", "marker.manifest", "marker.format-version", "OPTIONS", "RAFTLOG", "LEDGER", "LOCK", ".snap"} {
		t.Run(kind, func(t *testing.T) {
			chosen := damages
			if !*everyDamage {
				chosen = chosen[:0:0]
				for j := range 2 {
					chosen = append(chosen, damages[(i+3*j)%(len(damages)-1)])
				}
				chosen = append(chosen, damages[len(damages)-1])
			}
			synctest.Test(t, func(t *testing.T) { testDamageTo(t, kind, chosen) })
		})
	}
}

func testDamageTo(t *testing.T, kind string, damages []damage) {
	g := newRig(t, 3, NodeConfig{Dir: damageDir, Partitions: 4})
	g.start("a", "b", "c")
	g.ready()
	g.eventually("the cluster is whole", g.whole)
	id := defaultSpace(t, g.nodes["a"].Router())
	rebuilt, kept := 0, 0
	for round, damage := range damages {
		// Log on both sides of a snapshot, and what is left of a restart in tables.
		want := map[string]string{}
		put := func(part string) {
			for i := range 10 {
				key := fmt.Sprint(part, i)
				want[key] = fmt.Sprint(part, round, strings.Repeat("x", 2000))
				write(t, g.nodes["a"].Router(), id, key, want[key])
			}
		}
		put("k")
		n := g.nodes["c"]
		for i := range n.groups {
			if h := n.held(GroupID(i)); h != nil {
				// There may be nothing new to take one of.
				_ = h.group.Snapshot(t.Context())
			}
		}
		put("l")
		g.crash("c")
		g.start("c")
		g.ready()
		put("m")
		g.eventually("the cluster is whole", g.whole)
		before := g.nodes["c"].incarnation
		if round%2 == 0 {
			g.crash("c")
		} else {
			g.nodes["c"].Close()
			delete(g.nodes, "c")
		}
		put("n")
		disk := g.disks["c"]
		hit := 0
		for at, b := range files(t, disk, damageDir) {
			if kindOf(at) != kind {
				continue
			}
			after := damage.do(b)
			if after != nil && bytes.Equal(after, b) {
				continue
			}
			replace(t, disk, at, after)
			hit++
		}
		g.start("c")
		g.ready()
		if hit == 0 {
			continue
		}
		g.eventually("the cluster is whole again", g.whole)
		g.agree()
		for key, v := range want {
			for _, n := range g.nodes {
				if got, _ := read(t, n.Router(), id, key); got != v {
					t.Fatalf("%s: %s reads %.20q through %s, want %.20q", damage.name, key, got, n.name, v)
				}
			}
		}
		aside, err := replica.Aside(g.nodes["c"].logs(), damageDir)
		if err != nil {
			t.Fatal(err)
		}
		if renewed := g.nodes["c"].incarnation > before; renewed != (aside != "") {
			t.Errorf("%s: set aside as %q, and a new incarnation: %v", damage.name, aside, renewed)
		}
		if aside == "" {
			kept++
			continue
		}
		rebuilt++
		parent, err := disk.OpenDir(path.Dir(aside))
		if err = errors.Join(err, disk.RemoveAll(aside), parent.Sync(), parent.Close()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d times rebuilt, %d times as good as before", rebuilt, kept)
	essential := !slices.Contains([]string{"OPTIONS", "LEDGER", "LOCK"}, kind)
	if essential && rebuilt == 0 {
		t.Error("no damage was met")
	}
}

// Without others nothing begins anew in silence: the member refuses, its folder as
// it was, until somebody accepts the loss.
func TestALoneDamagedMemberRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := vfs.NewCrashableMem()
		cfg := NodeConfig{Name: "a", Dir: damageDir, Partitions: 4}
		cfg.Logs.FS, cfg.Snapshots.FS = disk, disk
		n := alone(t, cfg)
		write(t, n.Router(), defaultSpace(t, n.Router()), "k", "v")
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		for at, b := range files(t, disk, damageDir) {
			if kindOf(at) == ".log" {
				replace(t, disk, at, flipped(b, len(b)/3))
			}
		}
		before := files(t, disk, damageDir)
		for range 2 {
			_, err := OpenNode(t.Context(), cfg)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), damageDir) || !strings.Contains(err.Error(), "accept") {
				t.Fatalf("a lone member with a damaged log: %v", err)
			}
		}
		after := files(t, disk, damageDir)
		delete(after, path.Join(damageDir, "log", "DAMAGED"))
		if !maps.EqualFunc(before, after, slices.Equal) {
			t.Error("the folder has changed")
		}
		cfg.AcceptLoss = true
		n, err := OpenNode(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := n.Ready(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := disk.Stat(damageDir + ".damaged-1"); err != nil {
			t.Errorf("the damaged folder is not kept: %v", err)
		}
	})
}

// A majority that is damaged does not begin anew either: it waits, says for what,
// and goes on once the damage is undone.
func TestADamagedMajorityWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: damageDir, Partitions: 4})
		g.stores = map[string]*memoryStore{"a": newMemoryStore(), "b": newMemoryStore(), "c": newMemoryStore()}
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		id := defaultSpace(t, g.nodes["a"].Router())
		write(t, g.nodes["a"].Router(), id, "k", "v")
		time.Sleep(time.Second)
		for _, m := range []string{"a", "b", "c"} {
			g.crash(m)
		}
		whole := map[string]*vfs.MemFS{}
		for _, m := range []string{"b", "c"} {
			whole[m] = g.disks[m].CrashClone(vfs.CrashCloneCfg{})
			for at, b := range files(t, g.disks[m], damageDir) {
				if kindOf(at) == "MANIFEST" {
					replace(t, g.disks[m], at, flipped(b, len(b)-1))
				}
			}
		}
		g.start("a", "b", "c")
		time.Sleep(time.Minute)
		for name, n := range g.nodes {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := n.Ready(ctx); err == nil {
				t.Errorf("%s serves", name)
			}
			cancel()
			if name != "a" && (n.control.State().Formed() || n.bereft() == nil || !strings.Contains(n.bereft().Error(), n.aside)) {
				t.Errorf("%s: formed %v, %v", name, n.control.State().Formed(), n.bereft())
			}
		}
		for _, m := range []string{"b", "c"} {
			g.crash(m)
			g.disks[m] = whole[m]
		}
		g.start("b", "c")
		g.ready()
		if v, _ := read(t, g.nodes["b"].Router(), id, "k"); v != "v" {
			t.Errorf("k is %q", v)
		}
	})
}

// A member that comes back with nothing and with a clock that was set back gets an
// incarnation above its former one, whether it meets the others at once or later.
func TestABlankMemberOutgrowsItsFormerLife(t *testing.T) {
	const ahead = 1 << 60 // nanoseconds: the former life's clock was decades ahead
	for name, meets := range map[string]bool{"others are there": true, "others come later": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, 3, NodeConfig{Dir: damageDir, Partitions: 4})
				g.start("a", "b", "c")
				g.ready()
				g.eventually("the cluster is whole", g.whole)
				m, _ := g.nodes["a"].control.State().Member("c")
				future := *m
				future.Incarnation += ahead
				g.crash("c")
				if reply, err := g.nodes["a"].decide(t.Context(), &AdmitMember{Member: future}); err != nil || reply.Err() != nil {
					t.Fatal(err, reply.Err())
				}
				g.disks["c"] = vfs.NewCrashableMem() // A new disk.
				if !meets {
					g.crash("a")
					g.crash("b")
				}
				var restarts atomic.Int64
				g.cfg.Logs.OnFatal = func(err error) {
					if !errors.Is(err, errTooLow) {
						t.Error(err)
					}
					restarts.Add(1)
				}
				g.start("c")
				if !meets {
					time.Sleep(5 * time.Second)
					g.start("a", "b")
					g.eventually("the member is told", func() bool { return restarts.Load() == 1 })
					g.crash("c")
					g.start("c")
				}
				g.ready()
				g.eventually("the cluster is whole", g.whole)
				g.agree()
				if n := g.nodes["c"]; n.incarnation <= future.Incarnation {
					t.Errorf("incarnation %d, the former life had %d", n.incarnation, future.Incarnation)
				}
			})
		})
	}
}

// A member that loses its disk again, while the others still take in its new life, is
// taken in all the same: at no moment does a life that is over have a vote beside one
// that has begun, for then two of four votes would be gone for good.
func TestADiskMayBeLostAgainAtAnyMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, 3, NodeConfig{Dir: damageDir, Partitions: 4})
		g.start("a", "b", "c")
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		for pause := 20 * time.Millisecond; pause < 4*time.Second; pause = pause * 3 / 2 {
			g.crash("c")
			g.disks["c"] = vfs.NewCrashableMem()
			g.start("c")
			time.Sleep(pause)
		}
		g.ready()
		g.eventually("the cluster is whole", g.whole)
		g.agree()
	})
}
