package fault

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// A filter says what it is about as nft wants it said, one line for each rule.
func TestFilterRules(t *testing.T) {
	ab := []link{{"127.0.1.1", "127.0.1.2"}}
	const head = "table inet x {\n chain arrive {\n  type filter hook input priority 0; policy accept;\n"
	const rule, tail = "  ip saddr 127.0.1.1 ip daddr 127.0.1.2", " }\n}\n"
	for _, c := range []struct {
		name string
		f    filter
		want string
	}{
		{"a cut", filter{links: ab}, rule + " counter drop\n"},
		{"loss", filter{links: ab, chance: 30}, rule + " numgen random mod 100 < 30 counter drop\n"},
		{"resets", filter{links: ab, chance: 100, reset: true}, rule + " tcp flags & rst == 0 counter reject with tcp reset\n"},
		{"a port", filter{links: ab, ports: lab.PortGossip}, rule + " meta l4proto { tcp, udp } th dport 7382 counter drop\n" +
			rule + " meta l4proto { tcp, udp } th sport 7382 counter drop\n"},
	} {
		if got := c.f.rules("x"); got != head+c.want+tail {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, got, head+c.want+tail)
		}
	}
}

// planned is labs of three to seven members that are never started.
func planned(t *testing.T) []*lab.Lab {
	var labs []*lab.Lab
	for n := 3; n <= 7; n++ {
		l, err := lab.Open(t.Context(), lab.Config{Folder: t.TempDir(), Members: n, DiskBytes: -1})
		if err != nil {
			t.Fatal(err)
		}
		labs = append(labs, l)
	}
	return labs
}

// reach returns which members have both directions with one, itself included.
func reach(l *lab.Lab, cut []link, m *lab.Member) []string {
	var found []string
	for _, o := range l.All() {
		if !slices.Contains(cut, link{m.IP(), o.IP()}) && !slices.Contains(cut, link{o.IP(), m.IP()}) {
			found = append(found, o.Name())
		}
	}
	return found
}

// Cuts have the shapes that they are named for, whoever is drawn.
func TestCutShapes(t *testing.T) {
	labs := planned(t)
	if why := labs[0].Rights().Network; why != "" {
		t.Skipf("members have no addresses of their own: %s", why)
	}
	shapes := map[string]func(t *rapid.T, l *lab.Lab, cut []link){
		"cut-ring": func(t *rapid.T, l *lab.Lab, cut []link) {
			seen := map[string]bool{}
			for _, m := range l.All() {
				all := reach(l, cut, m)
				if len(all) < l.Majority() {
					t.Errorf("%s reaches only %v of %d", m.Name(), all, l.Members())
				}
				if key := strings.Join(all, " "); l.Members() >= 5 && seen[key] {
					t.Errorf("two members reach the same: %s", key)
				} else {
					seen[key] = true
				}
			}
		},
		"cut-bridge": func(t *rapid.T, l *lab.Lab, cut []link) {
			whole := 0
			for _, m := range l.All() {
				if len(reach(l, cut, m)) == l.Members() {
					whole++
				}
			}
			if whole != 1 {
				t.Errorf("%d members reach all", whole)
			}
		},
		"cut-halves": func(t *rapid.T, l *lab.Lab, cut []link) {
			for _, m := range l.All() {
				if n := len(reach(l, cut, m)); n != l.Members()/2 && n != l.Members()-l.Members()/2 {
					t.Errorf("%s reaches %d of %d", m.Name(), n, l.Members())
				}
			}
		},
		"cut-one": func(t *rapid.T, l *lab.Lab, cut []link) {
			if len(cut) != 2*(l.Members()-1) {
				t.Errorf("%d links", len(cut))
			}
		},
		"cut-one-way": func(t *rapid.T, l *lab.Lab, cut []link) {
			for _, k := range cut {
				if slices.Contains(cut, link{k.to, k.from}) {
					t.Errorf("%s is cut both ways", k)
				}
			}
			if len(cut) != l.Members()-1 {
				t.Errorf("%d links", len(cut))
			}
		},
	}
	for name, holds := range shapes {
		f, ok := Named(name)
		if !ok {
			t.Fatalf("there is no %s", name)
		}
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			l := rapid.SampledFrom(labs).Draw(t, "lab")
			seed := rapid.Uint64().Draw(t, "seed")
			cut, says, err := f.(cutFault).shape(context.Background(), l, rand.New(rand.NewPCG(seed, 0)))
			if err != nil || len(cut) == 0 || says == "" {
				t.Fatalf("%v, %q, %v", cut, says, err)
			}
			again, _, _ := f.(cutFault).shape(context.Background(), l, rand.New(rand.NewPCG(seed, 0)))
			if !slices.Equal(cut, again) {
				t.Errorf("seed %d cuts %v and then %v", seed, cut, again)
			}
			holds(t, l, cut)
		}))
	}
}

// Every fault has a name of its own by which it is found.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range append(All(), Damages()...) {
		if seen[f.Name()] {
			t.Errorf("two faults are called %s", f.Name())
		}
		seen[f.Name()] = true
		if found, ok := Named(f.Name()); !ok || found.Name() != f.Name() {
			t.Errorf("%s is not found", f.Name())
		}
	}
	if _, ok := Named("earthquake"); ok {
		t.Error("there is an earthquake")
	}
}

// Without rights, faults that need them say so, and the others can be done.
func TestMissing(t *testing.T) {
	none := lab.Rights{Network: "no network", Disk: "no disk", Trace: "no trace", Freeze: "no freeze"}
	want := map[string]string{"cut": "no network", "loss": "no network", "reset": "no network", "power": "no disk", "disk-full": "no disk", "sync": "no trace", "pause": "no freeze"}
	for _, f := range All() {
		family, _, _ := strings.Cut(f.Name(), "-")
		if why := f.Missing(none); why != want[family] && why != want[f.Name()] {
			t.Errorf("%s: %q", f.Name(), why)
		}
		if why := f.Missing(lab.Rights{}); why != "" {
			t.Errorf("%s cannot be done with all rights: %s", f.Name(), why)
		}
	}
}

// Damage changes a file, in the way that it says, and only there.
func TestDamageApplies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	rapid.Check(t, func(t *rapid.T) {
		before := rapid.SliceOfN(rapid.Byte(), 1, 3*pageBytes).Draw(t, "content")
		before[len(before)-1] |= 1 // something that zeros change
		h := rapid.SampledFrom(hows).Draw(t, "how")
		if err := os.WriteFile(path, before, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := h.apply(path, before, rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		differ := 0
		for i := range min(len(before), len(after)) {
			if before[i] != after[i] {
				differ++
			}
		}
		cutOff := len(before) - len(after)
		ok := map[how]bool{
			flip:   cutOff == 0 && differ == 1,
			tail:   cutOff >= 1 && cutOff <= tailBytes && differ == 0,
			middle: cutOff >= 1 && differ == 0,
			zero:   cutOff == 0 && differ >= 1 && differ <= pageBytes,
		}
		if !ok[h] {
			t.Errorf("%s: %d bytes cut off, %d changed", h, cutOff, differ)
		}
	})
}
