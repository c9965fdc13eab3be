package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/grid/space/predicate"
	"github.com/spacegrid/spacegrid/internal/chaos/lab"
)

// queriesData names another file than the sample to ask about, with the same
// columns: `make queries DATA=…` sets it.
const queriesData = "SPACEGRID_QUERIES_DATA"

// queriesIndexes are on both sides.
var queriesIndexes = []string{"Phase of flight", "Flight Date:ordered", "Origin State,Cost Total $:ordered"}

// Ten questions of increasing difficulty about a CSV file that was imported with
// the types found in it have the same answers as the same questions to SQLite,
// which reads the same file into columns of these types.
//
// Answers are compared row for row, in their order, as text: integers in decimal,
// text and days as they are, null apart from everything, and floats by their 64
// bits. That can be demanded of averages because the sums below them are of
// integers far below 2^53, which SQLite too adds without rounding, so that both
// round once, in the division.
func TestQueriesAgreeWithSQLite(t *testing.T) {
	csv := os.Getenv(queriesData)
	program, err := exec.LookPath("sqlite3")
	switch {
	case err != nil && csv != "":
		t.Fatal("sqlite3 is not installed: there is nothing to compare with")
	case err != nil:
		t.Skip("SKIPPED: sqlite3 is not installed, so nothing is compared with it")
	case csv == "":
		csv = filepath.Join("testdata", "birdstrikes.csv")
	}
	s := importStrikes(t, csv)
	q := newSQLite(t, program, csv, &s.def)
	if n := q.ask(t, "select count(*) from strikes").rows; n[0] != strconv.Itoa(s.rows) {
		t.Fatalf("%d rows are imported, and %v by sqlite3", s.rows, n)
	}
	t.Logf("%d rows of %s; time of the fastest of %d askings", s.rows, filepath.Base(csv), askings)
	for i, x := range questions {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			got, want := s.ask(t, &x), q.ask(t, x.sql)
			t.Logf("%6d rows  %9.2f ms  sqlite3 %6.0f ms  %s", len(got.rows), got.milliseconds, want.milliseconds, x.asks)
			if len(want.rows) == 0 {
				t.Error("there is no answer to compare")
			}
			if slices.Equal(got.rows, want.rows) {
				return
			}
			at := 0
			for at < min(len(got.rows), len(want.rows)) && got.rows[at] == want.rows[at] {
				at++
			}
			t.Errorf("%s\n%d rows, want %d; from row %d on\n%s\nwant\n%s", x.asks, len(got.rows), len(want.rows), at+1,
				excerptRows(got.rows[at:]), excerptRows(want.rows[at:]))
		})
	}
}

// askings is how often a question is asked.
const askings = 3

// answer is what one side says.
type answer struct {
	rows         []string
	milliseconds float64
}

func excerptRows(rows []string) string { return strings.Join(rows[:min(3, len(rows))], "\n") }

// strikes is a member with the rows of the file in a space.
type strikes struct {
	g    *grid.Grid
	def  space.Definition
	rows int
}

// importStrikes starts a member and imports the file by the command line.
func importStrikes(t *testing.T, csv string) *strikes {
	t.Helper()
	addrs, err := lab.FreePorts(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	g, err := grid.Open(t.Context(), grid.Config{Listen: addrs[0], Gossip: addrs[1], Partitions: 16})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	args := []string{"import", "strikes", csv, "-o", "json", "--addr", addrs[0]}
	for _, index := range queriesIndexes {
		args = append(args, "--index", index)
	}
	var out, errs bytes.Buffer
	var done struct {
		Rows    int `json:"rows"`
		Skipped int `json:"skipped"`
	}
	if code := run(t.Context(), args, nil, &out, &errs); code != 0 {
		t.Fatalf("status %d: %s", code, &errs)
	}
	if err := json.Unmarshal(out.Bytes(), &done); err != nil || done.Rows == 0 || done.Skipped > 0 {
		t.Fatalf("%s: %v", &out, err)
	}
	s := &strikes{g: g, rows: done.Rows}
	if s.def, err = g.Describe(t.Context(), "strikes"); err != nil {
		t.Fatal(err)
	}
	types := map[string]predicate.Type{
		"Flight Date": predicate.Time, "Cost Other": predicate.Int, "Cost Repair": predicate.Int,
		"Cost Total $": predicate.Int, "Speed IAS in knots": predicate.Int,
	}
	for _, f := range s.def.Fields {
		want, other := types[f.Path]
		if !other {
			want = predicate.String
		}
		if f.Type != want {
			t.Fatalf("the column %s is of type %v, want %v", f.Path, f.Type, want)
		}
	}
	return s
}

// columns are the names of the columns of the file.
func columns(t *testing.T, def *space.Definition) []string {
	t.Helper()
	names := make([]string, len(def.Fields))
	for i, f := range def.Fields {
		steps, err := grid.SplitPath(f.Path)
		if err != nil {
			t.Fatal(err)
		}
		names[i] = steps[0]
	}
	return names
}

// ask answers a question by the grid.
func (s *strikes) ask(t *testing.T, x *question) answer {
	t.Helper()
	var a answer
	for i := range askings {
		began := time.Now()
		rows := s.answer(t, x)
		if took := time.Since(began).Seconds() * 1000; i == 0 || took < a.milliseconds {
			a.milliseconds = took
		}
		if i > 0 && !slices.Equal(rows, a.rows) {
			t.Fatal("asked again, the answer is another one")
		}
		a.rows = rows
	}
	return a
}

func (s *strikes) answer(t *testing.T, x *question) []string {
	t.Helper()
	var where grid.Filter
	if x.where != "" {
		where = grid.Where(x.where, x.args...)
	}
	if len(x.parts) == 0 {
		return s.entries(t, where)
	}
	r, err := s.g.Aggregate(t.Context(), "strikes", where, grid.AggregateSpec{}, x.parts...)
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	for _, row := range r.Rows {
		ranked, ok := row.Values[0].([]grid.Ranked)
		if !ok {
			rows = append(rows, line(t, append(row.Groups, row.Values...)))
			continue
		}
		for place, e := range ranked {
			fields := grid.Entry{Value: e.Fields, Kind: grid.Fields}
			cells := append(slices.Clone(row.Groups), int64(place+1), e.By())
			for _, name := range x.ranked {
				v, _ := fields.Field(name)
				cells = append(cells, v)
			}
			rows = append(rows, line(t, cells))
		}
	}
	return rows
}

// entries returns all columns of what passes a filter, in the order of the file,
// which is that of the keys.
func (s *strikes) entries(t *testing.T, f grid.Filter) []string {
	t.Helper()
	var found []grid.Entry
	for e, err := range s.g.Query(t.Context(), "strikes", f, grid.QueryOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, e)
	}
	slices.SortFunc(found, func(a, b grid.Entry) int { return bytes.Compare(a.Key, b.Key) })
	names := columns(t, &s.def)
	rows := make([]string, len(found))
	for i, e := range found {
		cells := make([]any, len(names))
		for j, name := range names {
			cells[j], _ = e.Field(name)
		}
		rows[i] = line(t, cells)
	}
	return rows
}

// line writes a row as sqlite3 does in its mode quote, a float as the text of its
// bits.
func line(t *testing.T, cells []any) string {
	t.Helper()
	quoted := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	texts := make([]string, len(cells))
	for i, cell := range cells {
		switch v := cell.(type) {
		case nil:
			texts[i] = "NULL"
		case int64:
			texts[i] = strconv.FormatInt(v, 10)
		case float64:
			texts[i] = fmt.Sprintf("'%016X'", math.Float64bits(v))
		case string:
			texts[i] = quoted(v)
		case time.Time:
			texts[i] = quoted(v.UTC().Format(time.DateOnly))
		default:
			t.Fatalf("a %T in an answer", cell)
		}
	}
	return strings.Join(texts, ",")
}

// sqlite is a database with the rows of the file in a table.
type sqlite struct {
	program, file string
}

// newSQLite makes a database of the columns and indexes that a definition
// declares and reads the file into it. Days are text, whose order is theirs.
func newSQLite(t *testing.T, program, csv string, def *space.Definition) *sqlite {
	t.Helper()
	q := &sqlite{program: program, file: filepath.Join(t.TempDir(), "strikes.db")}
	quote := func(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
	affinities := map[predicate.Type]string{predicate.Int: "integer", predicate.Float: "real"}
	var script, declared, empty strings.Builder
	for i, name := range columns(t, def) {
		affinity := affinities[def.Fields[i].Type]
		if affinity == "" {
			affinity = "text"
		}
		if i > 0 {
			declared.WriteString(", ")
		}
		fmt.Fprintf(&declared, "%s %s", quote(name), affinity)
		fmt.Fprintf(&empty, "update strikes set %[1]s = null where %[1]s = '';\n", quote(name))
	}
	fmt.Fprintf(&script, "create table strikes (%s);\n.import --csv --skip 1 %s strikes\n%s", &declared, strconv.Quote(csv), &empty)
	for _, x := range def.Indexes {
		fields := make([]string, len(x.Fields))
		for i, f := range x.Fields {
			fields[i] = quote(f)
		}
		fmt.Fprintf(&script, "create index %s on strikes (%s);\n", quote(x.Name), strings.Join(fields, ", "))
	}
	q.run(t, script.String())
	return q
}

// averages are the floats in the answers, written float(avg(…)) in the questions.
var averages = regexp.MustCompile(`float\((avg\([^()]*\))\)`)

// timing is the line that sqlite3 writes behind an answer.
var timing = regexp.MustCompile(`^Run Time: real ([0-9.]+) `)

// ask answers a question by sqlite3.
func (q *sqlite) ask(t *testing.T, sql string) answer {
	t.Helper()
	sql = averages.ReplaceAllString(sql, "iif($1 is null, null, hex(ieee754_to_blob($1)))")
	out := q.run(t, ".mode quote\n.timer on\n"+strings.Repeat(sql+";\n", askings))
	var a answer
	var rows []string
	asked := 0
	for text := range strings.Lines(out) {
		text = strings.TrimSuffix(text, "\n")
		took := timing.FindStringSubmatch(text)
		if took == nil {
			rows = append(rows, text)
			continue
		}
		seconds, err := strconv.ParseFloat(took[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		if asked == 0 || seconds*1000 < a.milliseconds {
			a.milliseconds = seconds * 1000
		}
		a.rows, rows = rows, nil
		asked++
	}
	if asked != askings {
		t.Fatalf("sqlite3 has answered %d times of %d", asked, askings)
	}
	return a
}

// run puts a script through the program, which must find nothing to complain of.
func (q *sqlite) run(t *testing.T, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, q.program, "-batch", "-bail", q.file)
	c.Env = []string{"HOME=" + filepath.Dir(q.file)} // nobody's own settings
	c.Stdin = strings.NewReader(script)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil || errs.Len() > 0 {
		t.Fatalf("sqlite3: %v\n%s\n%s", err, &errs, script)
	}
	return out.String()
}
