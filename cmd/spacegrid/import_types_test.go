package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A column has the narrowest type that reads all of its cells back as they were
// written.
func TestGuessTypes(t *testing.T) {
	for _, x := range []struct {
		cells string // separated by |
		want  cellType
	}{
		{"1|-2|30", cellInt},
		{"1||2", cellInt},
		{"1|2.5|-0.50", cellFloat},
		{"1|007", cellText},
		{"1e5|2", cellText},
		{"+1", cellText},
		{"9223372036854775808", cellFloat},
		{"123456789012345678901234567890", cellText},
		{"NaN|1.5", cellText},
		{"true|false", cellBool},
		{"true|1", cellText},
		{"2026-01-31|1990-12-01", cellDate},
		{"2026-02-30", cellText},
		{"2026-01-31|", cellDate},
		{"2026-01-31|2026-01-31 10:00:00", cellText},
		{"2026-01-31T10:00:00+02:00|2026-01-31 10:00:00", cellTime},
		{"", cellText},
		{"None|1", cellText},
	} {
		g := newGuess(1)
		for cell := range strings.SplitSeq(x.cells, "|") {
			g.see([]string{cell})
		}
		if got := g.types()[0]; got != x.want {
			t.Errorf("%q is of type %v, want %v", x.cells, got, x.want)
		}
	}
	at, ok := cellTime.read("2026-01-31T10:00:00+02:00")
	if want := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC); !ok || !at.(time.Time).Equal(want) {
		t.Errorf("a time is read as %v", at)
	}
}

// Of standard input the first rows are kept to guess from, and then come like all
// the others.
func TestSample(t *testing.T) {
	rows, err := newRowReader(strings.NewReader("a,b\n1,x\nbad\n2,y\n"), "-", "csv")
	if err != nil {
		t.Fatal(err)
	}
	g := newGuess(2)
	if err := rows.sample(g); err != nil {
		t.Fatal(err)
	}
	if rows.types = g.types(); !slices.Equal(rows.types, []cellType{cellInt, cellText}) {
		t.Fatalf("the types are %v", rows.types)
	}
	var got []string
	for range 3 {
		if _, err := rows.next(); err != nil {
			got = append(got, err.Error()[:len("row 3")])
			continue
		}
		got = append(got, "ok")
	}
	if !slices.Equal(got, []string{"ok", "row 3", "ok"}) {
		t.Errorf("the rows are %v", got)
	}
}
