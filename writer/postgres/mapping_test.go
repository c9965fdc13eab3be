package postgres_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/datapump/sinktest"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
	"github.com/spacegrid/spacegrid/writer/postgres"
)

// cities maps space-1 of a sinktest.Source.
func cities() postgres.Mapping {
	return postgres.Mapping{Space: "space-1", Table: "public.cities", Whole: true, Columns: []postgres.Column{
		{Name: "id", Type: "text", From: "$key"},
		{Name: "name", Type: "varchar(10)", NotNull: true},
		{Name: "people", Type: "integer"},
		{Name: "lat", Type: "double precision", From: "at.lat"},
		{Name: "area", Type: "numeric(6,1)"},
		{Name: "capital", Type: "boolean"},
		{Name: "founded", Type: "timestamptz"},
		{Name: "raw", Type: "jsonb", From: "$fields"},
	}}
}

// write puts an entry of fields, given as JSON, into space 1 of a source.
func write(t *testing.T, src *sinktest.Source, key, json string) space.Seq {
	t.Helper()
	value, err := msgp.FromJSON(nil, []byte(json))
	if err != nil {
		t.Fatal(err)
	}
	return src.Apply(space.Command{Ops: []space.Op{{
		Code: space.OpWrite, Space: 1, Key: []byte(key), Kind: space.KindFields, Value: value,
	}}}).Results[0].Version
}

func take(src *sinktest.Source, key string) {
	src.Apply(space.Command{Ops: []space.Op{{Code: space.OpTake, Space: 1, Key: []byte(key)}}})
}

// Entries of a mapped space are rows of its table, and nothing else is.
func TestMappedColumns(t *testing.T) {
	dsn := shared.Server(t).NewDatabase(t)
	w := open(t, postgres.Config{DSN: postgres.DSN(dsn), Mappings: []postgres.Mapping{cities()}})
	src := sinktest.NewSource(5, space.History{5})
	src.Define(1)
	src.Define(2)
	write(t, src, "par", `{"name":"Paris","people":2100000,"at":{"lat":48.86},"area":105.44,"capital":true,"founded":{"$time":"0001-02-03T04:05:06Z"}}`)
	write(t, src, "ulm", `{"name":"Ulm","people":126000.0,"at":{"lat":48},"area":119,"extra":[1,{"x":2}]}`)
	write(t, src, "gone", `{"name":"Gone"}`)
	take(src, "gone")
	src.Put(2, "other", "bytes")
	pump := feed(t, w, src)
	flush(t, pump)
	d := look(t, dsn)
	table := func(want ...string) {
		t.Helper()
		if got := d.lines("SELECT id, '|', name, '|', people, '|', lat, '|', area::text, '|', capital, '|', founded::text FROM cities ORDER BY id"); !slices.Equal(got, want) {
			t.Errorf("the table has\n%q\nwant\n%q", got, want)
		}
	}
	d.exec("SET TIME ZONE 'UTC'")
	paris := "par | Paris | 2100000 | 48.86 | 105.4 | true | 0001-02-03 04:05:06+00"
	ulm := "ulm | Ulm | 126000 | 48 | 119.0 | <nil> | <nil>"
	trim := func(s string) string { return strings.ReplaceAll(s, " ", "") }
	lines := d.lines("SELECT id, '|', name, '|', people, '|', lat, '|', area::text, '|', capital, '|', founded::text FROM cities ORDER BY id")
	if len(lines) != 2 || trim(lines[0]) != trim(paris) || trim(lines[1]) != trim(ulm) {
		t.Fatalf("the table has\n%q", lines)
	}
	if got := one[string](d, "SELECT raw->'extra'->1->>'x' FROM cities WHERE id = 'ulm'"); got != "2" {
		t.Errorf("the fields as jsonb have %s", got)
	}
	if n := one[int](d, "SELECT count(*) FROM spacegrid.entry"); n != 1 {
		t.Errorf("the shared table has %d rows", n)
	}
	loaded, err := w.Load(t.Context(), 5, space.History{6}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := sinktest.ContentOf(loaded.Image()), src.At(src.Last()); got.String() != want.String() {
		t.Errorf("loaded:\n%s\nwant\n%s", got, want)
	}
	src.Apply(space.DropCommand(1))
	pump.Notify(5)
	flush(t, pump)
	table()
}

// A resync removes what is absent, leaves the rows of other partitions, and
// replaces the rest.
func TestMappedResync(t *testing.T) {
	dsn := shared.Server(t).NewDatabase(t)
	w := open(t, postgres.Config{DSN: postgres.DSN(dsn), Mappings: []postgres.Mapping{cities()}})
	src, other := sinktest.NewSource(5, space.History{5}), sinktest.NewSource(6, space.History{6})
	src.Define(1)
	other.Define(1)
	write(t, src, "a", `{"name":"old"}`)
	write(t, src, "b", `{"name":"stays"}`)
	write(t, src, "c", `{"name":"goes"}`)
	write(t, other, "z", `{"name":"other"}`)
	pump := feed(t, w, src, other)
	flush(t, pump)
	pump.Remove(5)
	write(t, src, "a", `{"name":"new"}`)
	take(src, "c")
	write(t, src, "d", `{"name":"far too long a name"}`) // refused when it is put aside
	write(t, src, "e", `{"name":null}`)                  // refused by the table itself
	src.Trim(src.Last())
	if err := pump.Add(5, src); err != nil {
		t.Fatal(err)
	}
	flush(t, pump)
	d := look(t, dsn)
	if got := d.lines("SELECT name FROM cities ORDER BY id"); !slices.Equal(got, []string{"new", "stays", "other"}) {
		t.Errorf("the table has %q", got)
	}
	letters, err := w.List(t.Context(), datapump.LetterID{}, 10)
	if err != nil || len(letters) != 2 || string(letters[0].Key) != "d" || string(letters[1].Key) != "e" {
		t.Fatalf("the letters are %+v, %v", letters, err)
	}
	// The pump knows of both: what follows them waits.
	write(t, src, "e", `{"name":"late"}`)
	pump.Notify(5)
	flush(t, pump)
	if letters, err = w.List(t.Context(), datapump.LetterID{}, 10); err != nil || len(letters) != 3 || !letters[2].Parked {
		t.Fatalf("the letters are %+v, %v", letters, err)
	}
	if err := w.Drop(t.Context(), letters[1].ID()); err != nil {
		t.Fatal(err)
	}
	if got := d.lines("SELECT name FROM cities WHERE id = 'e'"); !slices.Equal(got, []string{"late"}) {
		t.Errorf("released: %q", got)
	}
	if n := one[int](d, "SELECT count(*) FROM spacegrid.stage"); n != 0 {
		t.Errorf("%d rows are left aside", n)
	}
}

// Every way in which a row can be refused makes a dead letter of that row, and of
// no other, with a reason that tells.
func TestPoisonRows(t *testing.T) {
	dsn := shared.Server(t).NewDatabase(t)
	d := look(t, dsn)
	d.exec(`CREATE TABLE cities (id text PRIMARY KEY, name varchar(10) UNIQUE NOT NULL, people integer CHECK (people >= 0),
		lat double precision, area numeric(6,1), capital boolean, founded timestamptz, raw jsonb,
		grid_partition smallint, grid_version bigint, grid_order bigint, grid_deadline bigint, grid_attempts integer,
		grid_kind smallint, grid_value bytea)`)
	d.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.name = 'Atlantis' THEN RAISE EXCEPTION 'no such city'; END IF; RETURN NEW; END $$`)
	d.exec("CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON cities FOR EACH ROW EXECUTE FUNCTION refuse()")
	w := open(t, postgres.Config{DSN: postgres.DSN(dsn), Mappings: []postgres.Mapping{cities()}})
	src := sinktest.NewSource(5, space.History{5})
	src.Define(1)
	poison := []struct{ json, says string }{
		{`{"name":"a name that is too long"}`, "too long"},
		{`{"people":1}`, "null value in column"},
		{`{"name":"nul\u0000"}`, "NUL"},
		{`{"name":{"$string":"/w=="}}`, "UTF-8"},
		{`{"name":7}`, "kind int"},
		{`{"name":"big","people":3000000000}`, "out of the range"},
		{`{"name":"half","people":1.5}`, "not whole"},
		{`{"name":"minus","people":-1}`, "cities_people_check"},
		{`{"name":"wide","area":1e9}`, "numeric field overflow"},
		{`{"name":"digits","at":{"lat":9007199254740993}}`, "more digits"},
		{`{"name":"word","capital":"yes"}`, "kind string"},
		{`{"name":"clock","founded":5}`, "kind int"},
		{`{"name":"good 0"}`, "cities_name_key"},
		{`{"name":"Atlantis"}`, "no such city"},
		{`{"name":"deep","raw":"a\u0000b"}`, "NUL"},
	}
	want := map[space.Seq]string{}
	for i, x := range poison {
		write(t, src, fmt.Sprintf("good-%d", i), fmt.Sprintf(`{"name":"good %d"}`, i))
		seq := write(t, src, fmt.Sprintf("poison-%d", i), x.json)
		if x.says != "NUL" || i != len(poison)-1 {
			want[seq] = x.says
		}
	}
	// jsonb cannot say the last one; the whole entry rests in its own column.
	src.Put(1, "bytes", "not fields")
	want[src.Last()] = "opaque bytes"
	pump := feed(t, w, src)
	flush(t, pump)
	letters, err := w.List(t.Context(), datapump.LetterID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range letters {
		if says, ok := want[l.Seq]; !ok || !strings.Contains(l.Reason, says) || l.Parked {
			t.Errorf("letter %d of %s says %q, want %q", l.Seq, l.Key, l.Reason, says)
		}
		delete(want, l.Seq)
	}
	if len(want) > 0 {
		t.Errorf("no letters are %v", want)
	}
	if n := one[int](d, "SELECT count(*) FROM cities WHERE name LIKE 'good%'"); n != len(poison) {
		t.Errorf("%d good rows of %d have arrived", n, len(poison))
	}
	// The reason is taken away, and the letter replayed.
	d.exec("DROP TRIGGER refuse ON cities")
	for _, l := range letters {
		err := w.Replay(t.Context(), l.ID())
		var refused *datapump.RefusedError
		if mended := strings.Contains(l.Reason, "no such city"); mended != (err == nil) || !mended && !errors.As(err, &refused) {
			t.Errorf("replaying %d (%s) is answered with %v", l.Seq, l.Reason, err)
		}
	}
	if n := one[int](d, "SELECT count(*) FROM cities WHERE name = 'Atlantis'"); n != 1 {
		t.Errorf("%d rows of the replayed letter", n)
	}
}

// A mapping that cannot work is refused when the writer is opened; one that does
// not fit the table, before anything is written.
func TestMappingRefused(t *testing.T) {
	key := postgres.Column{Name: "id", Type: "text", From: "$key"}
	for _, x := range []struct {
		mapping postgres.Mapping
		says    string
	}{
		{postgres.Mapping{Space: "s", Table: "t"}, "exactly one column"},
		{postgres.Mapping{Space: "s", Table: "t", Columns: []postgres.Column{key, key}}, "twice"},
		{postgres.Mapping{Space: "s", Table: "a.b.c", Columns: []postgres.Column{key}}, "of a table"},
		{postgres.Mapping{Space: "s", Table: "t", Columns: []postgres.Column{key, {Name: "x", Type: "money"}}}, "is none of"},
		{postgres.Mapping{Space: "s", Table: "t", Columns: []postgres.Column{key, {Name: "x", Type: "text(3)"}}}, "modifier"},
		{postgres.Mapping{Space: "s", Table: "t", Columns: []postgres.Column{key, {Name: "x", Type: "varchar(3); DROP TABLE y"}}}, "modifier"},
		{postgres.Mapping{Space: "s", Table: "t", Columns: []postgres.Column{key, {Name: "x", Type: "text", From: "$what"}}}, "nothing is called"},
		{postgres.Mapping{Space: "s", Table: "t", Columns: []postgres.Column{key, {Name: "x", Type: "text", From: "$version"}}}, "column of type bigint"},
		{postgres.Mapping{Space: "s", Table: "t", Columns: []postgres.Column{key, {Name: strings.Repeat("x", 64), Type: "text"}}}, "no name"},
	} {
		_, err := postgres.Open(postgres.Config{Name: "test", DSN: "host=/nowhere", Mappings: []postgres.Mapping{x.mapping}})
		if err == nil || !strings.Contains(err.Error(), x.says) {
			t.Errorf("%+v is answered with %v, want %q", x.mapping, err, x.says)
		}
	}
	dsn := shared.Server(t).NewDatabase(t)
	d := look(t, dsn)
	d.exec(`CREATE TABLE "odd ""name" (id bigint)`)
	w := open(t, postgres.Config{DSN: postgres.DSN(dsn), Mappings: []postgres.Mapping{{Space: "s", Table: `odd "name`, Columns: []postgres.Column{key}}}})
	var wrong *postgres.SchemaError
	if err := w.Check(t.Context()); !errors.As(err, &wrong) || !strings.Contains(err.Error(), "column id is of type bigint, not text") {
		t.Errorf("the check says %v", err)
	}
	if n := one[int](d, "SELECT count(*) FROM pg_namespace WHERE nspname = 'spacegrid'"); n != 0 {
		t.Error("the check has left tables behind")
	}
}
