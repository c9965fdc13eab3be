package main

import (
	"strings"
	"testing"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
)

// The path that a column is declared with leads to the one field of its name,
// whatever that is.
func TestDeclaredFields(t *testing.T) {
	columns := []string{"id", "Cost Total $", "a.b", `5" nails`, `".`, "no.", "日"}
	types := []cellType{cellInt, cellFloat, cellBool, cellDate, cellTime, cellText, cellText}
	want := []predicate.Type{predicate.Int, predicate.Float, predicate.Bool, predicate.Time, predicate.Time, predicate.String, predicate.String}
	fields := declaredFields(columns, types)
	for i, f := range fields {
		steps, err := grid.SplitPath(f.Path)
		if err != nil || len(steps) != 1 || steps[0] != columns[i] || f.Type != want[i] {
			t.Errorf("column %q is declared as %s %v, which leads to %q, %v", columns[i], f.Path, f.Type, steps, err)
		}
	}
	def := space.Definition{Name: "s", Shape: space.ShapeFields, Fields: fields}
	if err := def.Validate(); err != nil || len(fields) != len(columns) {
		t.Errorf("%d fields, %v", len(fields), err)
	}
	p, err := predicate.Parse(`"Cost Total $" > 1 and "a.b" and "5"" nails" is null`)
	if err != nil {
		t.Fatal(err)
	}
	if err := def.CheckFilter(nil, p.Append(nil)); err != nil {
		t.Errorf("a filter on declared columns: %v", err)
	}
}

// Columns are declared all or not at all: nobody could filter by those left out.
func TestDeclaredFieldsLimits(t *testing.T) {
	for name, columns := range map[string][]string{
		"too many": make([]string, space.MaxFields+1),
		"too long": {"a", strings.Repeat("x", space.MaxNameBytes+1)},
	} {
		if fields := declaredFields(columns, make([]cellType, len(columns))); fields != nil {
			t.Errorf("%s: %d fields", name, len(fields))
		}
	}
}

// Every index has a name that a definition allows and no other index has.
func TestImportIndexes(t *testing.T) {
	columns := []string{"a", "b", "Cost Total $", "$", "a-b", ".x", strings.Repeat("x", space.MaxNameBytes)}
	flags := []string{
		"a", "a,b", "a:ordered", "Cost Total $", "a,Cost Total $:ordered", "$", "$:ordered", "a-b",
		columns[6], columns[6] + ":ordered",
	}
	names := "a a-b a-2 Cost-Total a-Cost-Total index index-2 a-b-2 " + columns[6][3:] + " " + columns[6][3:] + "-2"
	indexes, err := importIndexes(flags, columns)
	if err != nil {
		t.Fatal(err)
	}
	def := space.Definition{Name: "s", Shape: space.ShapeFields, Indexes: indexes}
	if err := def.Validate(); err != nil {
		t.Error(err)
	}
	var got []string
	for i, x := range indexes {
		got = append(got, x.Name)
		if x.Ordered != strings.HasSuffix(flags[i], ":ordered") || strings.Join(x.Fields, ",") != strings.TrimSuffix(flags[i], ":ordered") {
			t.Errorf("%s became %+v", flags[i], x)
		}
	}
	if strings.Join(got, " ") != names {
		t.Errorf("the names are %v", got)
	}
	for _, bad := range []string{"c", "a,c", "", "a,b:sorted", ".x"} {
		if _, err := importIndexes([]string{bad}, columns); err == nil {
			t.Errorf("--index %q is taken", bad)
		}
	}
	if x, err := importIndexes([]string{"owner.name:ordered"}, nil); err != nil || x[0].Name != "owner.name" {
		t.Errorf("a path into the maps of JSON lines: %v, %v", x, err)
	}
}

// Keys made for rows are in the order of the rows.
func TestRowKeys(t *testing.T) {
	k := newRowKeys()
	for _, row := range []int{2, 9, 10, 99_999, 9_999_999_998} {
		if a, b := string(k.key(row)), string(k.key(row+1)); a >= b {
			t.Errorf("the key %s of row %d is not below %s", a, row, b)
		}
	}
	if k == newRowKeys() {
		t.Error("two imports make the same keys")
	}
}
