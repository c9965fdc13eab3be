package resp

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Whatever arguments a client sends, every command gives exactly one reply and
// none ends in a panic.
func TestCommandsSurviveArguments(t *testing.T) {
	h, address := startCommands(t, CommandsConfig{})
	p := dialPeer(t, address)
	if _, err := p.call("CLIENT", "SETNAME", "junk"); err != nil {
		t.Fatal(err)
	}
	junk := []string{
		"", "k", "0", "1", "-1", "9223372036854775807", "-9223372036854775808", "1e300", "nan", "*", "[", "\xff\x00",
		"NX", "GET", "EX", "MATCH", "COUNT", "KEY", "default", "JSON", "{}", `{"a":`, "LIMIT", "YES", "INDEX", "AUTH",
		strings.Repeat("x", 2000),
	}
	s := rand.New(rand.NewPCG(1, 2))
	for _, name := range commandNames(h.Table()) {
		if name[0] == "quit" || slices.Equal(name, []string{"client", "kill"}) {
			continue // they may end the connection
		}
		for n := range 60 {
			args := slices.Clone(name)
			for range n % 6 {
				args = append(args, junk[s.IntN(len(junk))])
			}
			if err := p.send(args...); err != nil {
				t.Fatalf("%q: %v", args, err)
			}
			if _, err := showReply(p.r); err != nil {
				t.Fatalf("%q: %v", args, err)
			}
			if n%20 == 19 { // leaves MULTI, protocol and database behind
				if got, err := p.call("RESET"); err != nil || got != "+RESET" {
					t.Fatalf("after %q: RESET: %s, %v", args, got, err)
				}
				if got, err := p.call("ECHO", "still here"); err != nil || got != `"still here"` {
					t.Fatalf("after %q: %s, %v", args, got, err)
				}
			}
		}
	}
	if n := h.server.Load().Stats().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
}

// commandNames returns every command of the table, subcommands as two words.
func commandNames(table *Table) [][]string {
	var names [][]string
	for _, spec := range table.Specs() {
		names = append(names, []string{spec.Name})
		for _, sub := range spec.Subcommands {
			names = append(names, strings.Split(sub.Name, "|"))
		}
	}
	return names
}

// Every command of the table can be carried out.
func TestEveryCommandHasAnAction(t *testing.T) {
	h := NewCommands(CommandsConfig{Grid: openGrid(t)})
	for name, spec := range h.table.byName {
		container := len(spec.Subcommands) > 0 && spec.Arity < -1
		if _, ok := h.actions[spec]; !ok && !container {
			t.Error(name)
		}
	}
}

// What may have taken effect is never reported as if it had not, or had.
func TestErrorTexts(t *testing.T) {
	for _, c := range []struct {
		err  error
		word string
	}{
		{fmt.Errorf("%w: lost", grid.ErrIndeterminate), "INDETERMINATE"},
		{fmt.Errorf("%w: %w", grid.ErrIndeterminate, grid.ErrUnavailable), "INDETERMINATE"},
		{fmt.Errorf("%w: no leader", grid.ErrUnavailable), "CLUSTERDOWN"},
		{fmt.Errorf("%w: %w", grid.ErrUnavailable, space.CodeBusy.Err()), "CLUSTERDOWN"},
		{grid.ErrCrossPartition, "CROSSSLOT"},
		{space.CodeBusy.Err(), "TRYAGAIN"},
		{space.CodeWrongKind.Err(), "WRONGTYPE"},
		{space.CodeConflict.Err(), "CONFLICT"},
		{space.CodeScanRefused.Err(), "SCANREFUSED"},
		{space.CodeNoSpace.Err(), "NOSPACE"},
		{space.CodeRange.Err(), "OUTOFRANGE"},
		{space.CodeTooLarge.Err(), "ERR"},
		{errors.New("something"), "ERR"},
	} {
		if word, _, _ := strings.Cut(errorText(c.err), " "); word != c.word {
			t.Errorf("%v is told as %q, want %s", c.err, errorText(c.err), c.word)
		}
	}
}

// A cursor is the place it stands for, and 0 only at the beginning.
func TestCursors(t *testing.T) {
	for _, b := range []grid.Bookmark{
		{}, {Order: 1}, {Partition: 1}, {Partition: 4095, Order: 1<<cursorOrderBits - 1}, {Partition: 7, Order: 12345},
	} {
		cursor := cursorOf(b)
		if got := bookmarkOf(cursor); got != b || (cursor == 0) != (b == grid.Bookmark{}) {
			t.Errorf("%v became %d, which is %v", b, cursor, got)
		}
	}
}

// A key that is there during a whole scan is returned exactly once, though others
// come and go and values are replaced.
func TestScanBesideWrites(t *testing.T) {
	_, address := startCommands(t, CommandsConfig{})
	p := dialPeer(t, address)
	must := func(args ...string) string {
		t.Helper()
		got, err := p.call(args...)
		if err != nil || strings.HasPrefix(got, "-") {
			t.Fatalf("%q: %s, %v", args, got, err)
		}
		return got
	}
	const stay = 100
	for i := range stay {
		must("SET", fmt.Sprint("stay", i), "v")
		must("SET", fmt.Sprint("go", i), "v")
	}
	seen := map[string]int{}
	cursor := "0"
	for i := 0; ; i++ {
		reply := must("SCAN", cursor, "COUNT", "7")
		words := strings.FieldsFunc(reply, func(r rune) bool { return strings.ContainsRune(`[]" `, r) })
		cursor = words[0]
		for _, key := range words[1:] {
			seen[key]++
		}
		if cursor == "0" {
			break
		}
		must("SET", fmt.Sprint("stay", i%stay), fmt.Sprint(i))
		must("DEL", fmt.Sprint("go", i%stay))
		must("SET", fmt.Sprint("come", i), "v")
	}
	for i := range stay {
		if n := seen[fmt.Sprint("stay", i)]; n != 1 {
			t.Errorf("stay%d was returned %d times", i, n)
		}
	}
}
