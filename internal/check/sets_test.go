package check

import (
	"reflect"
	"testing"
)

// An element is there for everybody from the moment on at which somebody could know
// of it, once, and nothing else is.
func TestSets(t *testing.T) {
	good := func() *SetHistory {
		return &SetHistory{
			Additions: []Addition{
				{Line: 1, Set: "s", Element: "a", Call: 1, Return: 2, Outcome: Done},
				{Line: 2, Set: "s", Element: "b", Call: 3, Return: 4, Outcome: Unknown},
				{Line: 3, Set: "s", Element: "c", Call: 5, Return: 6, Outcome: Refused},
				{Line: 4, Set: "s", Element: "d", Call: 7, Return: 30, Outcome: Done},
				{Line: 5, Set: "s", Element: "e", Call: 7, Return: 30, Outcome: Unknown},
			},
			Reads: []SetRead{
				{Line: 6, Set: "s", Elements: []string{"a"}, Call: 10, Return: 11},
				{Line: 7, Set: "s", Elements: []string{"a", "b"}, Call: 12, Return: 13},
				{Line: 8, Set: "s", Elements: []string{"a", "b", "d"}, Call: 40, Return: 41, Final: true},
			},
		}
	}
	for name, c := range map[string]struct {
		change func(*SetHistory)
		want   SetVerdict
	}{
		"good": {func(*SetHistory) {}, SetVerdict{}},
		"good: nobody has looked at the end": {
			func(h *SetHistory) { h.Reads[2].Final = false }, SetVerdict{Unread: 3},
		},
		"lost": {
			func(h *SetHistory) { h.Reads[2].Elements = []string{"a", "b"} }, SetVerdict{Lost: 1},
		},
		"lost, and was never acknowledged but seen": {
			func(h *SetHistory) { h.Reads[2].Elements = []string{"a", "d"} }, SetVerdict{Lost: 1},
		},
		"missed by a read": {
			func(h *SetHistory) { h.Reads[1].Elements = []string{"b"} }, SetVerdict{Stale: 1},
		},
		"twice in a read": {
			func(h *SetHistory) { h.Reads[0].Elements = []string{"a", "a"} }, SetVerdict{Duplicated: 1},
		},
		"refused and there": {
			func(h *SetHistory) { h.Reads[2].Elements = []string{"a", "b", "c", "d"} }, SetVerdict{Phantom: 1},
		},
		"there before it was added": {
			func(h *SetHistory) { h.Additions[3].Call, h.Reads[0].Elements = 20, []string{"a", "d"} }, SetVerdict{Phantom: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := good()
			c.change(h)
			got := Sets(h)
			if got.OK() != (name[:4] == "good") || got.OK() != (len(got.Complaints) == 0) {
				t.Errorf("ok %v with complaints %q", got.OK(), got.Complaints)
			}
			c.want.Added, c.want.Resolved = 3, 1
			if got.Complaints = nil; !reflect.DeepEqual(got, c.want) {
				t.Errorf("verdict %+v, want %+v", got, c.want)
			}
		})
	}
}
