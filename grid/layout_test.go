package grid

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/grid/space"
)

type location struct {
	Row    int    `grid:"row,ordered"`
	Number int    `grid:"number"`
	Gate   string // under its Go name
}

type stamps struct {
	Made time.Time `grid:"made"`
}

type ticket struct {
	stamps
	ID      string         `grid:"id,key"`
	Buyer   string         `grid:"buyer,routing,index"`
	Section string         `grid:"section,group,index=cheap:1"`
	Price   float64        `grid:"price,index=cheap:2,ordered"`
	Place   location       `grid:"place"`
	Extra   map[string]any `grid:"extra,omitempty"`
	Blob    []byte         `grid:"blob,omitempty"`
	Hold    time.Duration  `grid:"-,lease"`
	Skipped int            `grid:"-"`
	Any     any            `grid:"any"`
	hidden  int
}

// The definition of a space follows from the tags.
func TestLayout(t *testing.T) {
	l, err := layoutOf(reflect.TypeFor[ticket]())
	if err != nil {
		t.Fatal(err)
	}
	def, err := l.definition("tickets")
	if err != nil {
		t.Fatal(err)
	}
	want := space.Definition{
		Name: "tickets", Shape: space.ShapeFields, Key: "id", Routing: "buyer", Group: "section",
		Indexes: []space.Index{
			{Name: "buyer", Fields: []string{"buyer"}},
			{Name: "cheap", Fields: []string{"section", "price"}, Ordered: true},
			{Name: "place.row", Fields: []string{"place.row"}, Ordered: true},
		},
	}
	if !reflect.DeepEqual(def, want) {
		t.Errorf("got  %+v\nwant %+v", def, want)
	}
	var fields []string
	for _, f := range l.fields {
		fields = append(fields, f.Path+" "+f.Type.String())
	}
	if got := strings.Join(fields, ", "); got != "made time, id string, buyer string, section string, price float, "+
		"place.row int, place.number int, place.Gate string, extra map, blob bytes, any any" {
		t.Errorf("declared: %s", got)
	}
}

// What is stored has the names that the tags say, and reads back.
func TestStoredNames(t *testing.T) {
	in := ticket{
		stamps: stamps{Made: time.Unix(1, 0).UTC()}, ID: "7", Buyer: "ann", Section: "A", Price: 2,
		Place: location{Row: 3, Gate: "west"}, Hold: time.Hour, Skipped: 1, hidden: 2,
	}
	b, err := Marshal(&in)
	if err != nil {
		t.Fatal(err)
	}
	e := Entry{Value: b, Kind: Fields}
	for name, want := range map[string]any{
		"made": in.Made, "id": "7", "buyer": "ann", "section": "A", "price": 2.0,
		"place": map[string]any{"row": int64(3), "number": int64(0), "Gate": "west"}, "any": nil,
	} {
		if got, ok := e.Field(name); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"extra", "blob", "-", "Hold", "Skipped", "hidden", "stamps"} {
		if v, ok := e.Field(name); ok {
			t.Errorf("%s is stored: %v", name, v)
		}
	}
	var out ticket
	if err := Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	in.Hold, in.Skipped, in.hidden = 0, 0, 0
	if fmt.Sprintf("%+v", out) != fmt.Sprintf("%+v", in) {
		t.Errorf("got  %+v\nwant %+v", out, in)
	}
}

// Tags that cannot be followed are refused when a space is opened, by name.
func TestRefusedTags(t *testing.T) {
	type inner struct {
		K string `grid:"k,key"`
	}
	for name, v := range map[string]any{
		"not a struct": 7,
		"no key":       struct{ A int }{},
		"two fields for its key": struct {
			A string `grid:"a,key"`
			B string `grid:"b,key"`
		}{},
		"cannot be the key": struct {
			A float64 `grid:"a,key"`
		}{},
		"cannot lie inside": struct {
			A string `grid:"a,key"`
			B inner  `grid:"b"`
		}{},
		"cannot be the lease": struct {
			A string `grid:"a,key"`
			B int    `grid:"b,lease"`
		}{},
		"two fields for its lease": struct {
			A string        `grid:"a,key"`
			B time.Duration `grid:"b,lease"`
			C time.Time     `grid:"c,lease"`
		}{},
		"two fields for its group": struct {
			A string `grid:"a,key,group"`
			B int    `grid:"b,group"`
		}{},
		"unknown tag option": struct {
			A string `grid:"a,key,unique"`
		}{},
		"names no place": struct {
			A string `grid:"a,key,index=x"`
		}{},
		"is taken": struct {
			A string `grid:"a,key,index=x:1"`
			B string `grid:"b,index=x:1"`
		}{},
		"not its last field": struct {
			A string `grid:"a,key,index=x:1,ordered"`
			B string `grid:"b,index=x:2"`
		}{},
		"it is not stored": struct {
			A string `grid:"-,key"`
		}{},
		"a dot in its name": struct {
			A string `grid:"a.b,key,index"`
		}{},
	} {
		l, err := layoutOf(reflect.TypeOf(v))
		if err == nil {
			_, err = l.definition("x")
		}
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An entry with a routing field lies where the field says, unless its key says so
// itself.
func TestRoutedKeys(t *testing.T) {
	c, err := newCodec[ticket]()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct{ buyer, id, want string }{
		{"ann", "7", "{ann}7"}, {"ann", "{ann}7", "{ann}7"}, {"ann", "7{ann}", "7{ann}"},
		{"ann", "7{}", "{ann}7{}"}, {"ann", "7}{", "{ann}7}{"},
	} {
		if got := c.keyOf(&ticket{ID: x.id, Buyer: x.buyer}); string(got) != x.want {
			t.Errorf("%v: %s", x, got)
		}
		if got, err := Key(RoutedKey{x.buyer, x.id}); string(got) != x.want || err != nil {
			t.Errorf("%v: %s, %v", x, got, err)
		}
	}
	if got, err := Key(RoutedKey{7, 8}); string(got) != "{7}8" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := Key(RoutedKey{1.5, 8}); !errors.Is(err, ErrInvalid) {
		t.Errorf("%v", err)
	}
}
