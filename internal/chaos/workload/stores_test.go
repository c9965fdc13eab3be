package workload_test

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

type stored struct {
	ID    string `grid:"id,key"`
	Value int    `grid:"value"`
}

// The store of a member that has stopped has what the grid had; an entry that is
// missing, another one, or one too many is told apart from that.
func TestStoresDiffer(t *testing.T) {
	dir := t.TempDir()
	g, err := grid.Open(t.Context(), grid.Config{Name: "m", Dir: dir, Partitions: 8})
	if err != nil {
		t.Fatal(err)
	}
	s, err := grid.OpenSpace[stored](t.Context(), g, "stored")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, err := s.Write(t.Context(), stored{fmt.Sprint("k", i), i}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Delete(t.Context(), "k7"); err != nil {
		t.Fatal(err)
	}
	want, err := workload.GridContent(t.Context(), g)
	if err != nil || len(want["stored"]) != 49 {
		t.Fatalf("the grid has %d entries, %v", len(want["stored"]), err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	folders := []string{filepath.Join(dir, "store")}
	for name, change := range map[string]func(workload.StoredEntry){
		"":           func(workload.StoredEntry) {},
		"is missing": func(e workload.StoredEntry) { want["stored"]["k7"] = e },
		"should not be there": func(workload.StoredEntry) {
			delete(want["stored"], "k7")
			delete(want["stored"], "k8")
		},
		"should have": func(workload.StoredEntry) {
			e := want["stored"]["k8"]
			e.Version++
			want["stored"]["k8"] = e
		},
		"k9": func(e workload.StoredEntry) {
			e.Value = bytes.Clone(e.Value)
			e.Value[len(e.Value)-1]++
			want["stored"]["k9"] = e
		},
	} {
		before := want["stored"]
		want["stored"] = maps.Clone(before)
		change(before["k9"])
		got, err := workload.StoresDiffer(t.Context(), folders, 8, want)
		want["stored"] = before
		switch {
		case err != nil:
			t.Fatal(err)
		case name == "" && len(got) == 0:
		case name == "" || len(got) != 1 || got[0].Entries != 1 || !strings.Contains(got[0].String(), name):
			t.Errorf("%q: %v", name, got)
		}
	}
}
