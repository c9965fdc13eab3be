package web

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spacegrid/spacegrid/gateway/form"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// FuzzClientFrame: whatever a client sends is a message with all its members in
// range, or a breach with a reason that fits into a close message.
func FuzzClientFrame(f *testing.F) {
	for _, seed := range []string{
		`{"t":"hello","client":"x"}`, `{"t":"watch","id":1,"space":"a","template":{"b":1},"from":"now","credit":5,"batch_ms":20}`,
		`{"t":"credit","id":1,"n":5}`, `{"t":"unwatch","id":4294967296}`, `{"t":"ping"}{}`, `[]`, `null`, `{"t":"watch","id":1,"space":"a","credit":-1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frame, err := parseClientFrame(b)
		if err != nil {
			var breach *breach
			if !errors.As(err, &breach) || breach.code != closeBadFrame || len(breach.reason) == 0 || len(breach.reason) > 123 {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(frame.Client) > maxClientName || frame.Credit < 0 || frame.T != "hello" && frame.T != "ping" && frame.ID == 0 {
			t.Fatalf("%+v", frame)
		}
		if o, err := frame.options(); err == nil {
			if _, err := msgp.AppendValue(nil, map[string]any(o.Template)); err != nil {
				t.Fatalf("the template has no encoding: %v", err)
			}
		} else if p := problemOf(err); p.Status < 400 || p.Status >= 500 {
			t.Fatalf("%v has status %d", err, p.Status)
		}
	})
}

// FuzzBodies: bodies of queries, entries and changes are refused as problems of
// the request or read as values that the grid takes.
func FuzzBodies(f *testing.F) {
	for _, seed := range []string{
		`{"template":{"a":1},"limit":3,"allow_scan":true}`, `{"template":null}`, `{"where":"a < ? and b","args":[3]}`, `{"mutations":[{"op":"unset","path":"a"}],"if":"a = :n","args":{"n":1}}`, `{"a":{"$bytes":"AA=="}}`, `[{"a":1},{"b":[1,2]}]`,
		`[{"op":"add","field":"a","value":1},{"op":"append","value":"x"},{"op":"set_range","offset":3,"value":{"$bytes":"AA=="}}]`,
		`[{"op":"add","path":"a.b","value":1,"min":0,"max":9.5},{"op":"push","path":"\"a.b\".0","value":{"x":[1]}}]`,
		strings.Repeat("[", 100), `{"a":1e999}`, "{\"a\":1}\n{\"b\":2}\n", `{"\ud800":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		blame := func(err error) {
			if p := problemOf(err); p.Status < 400 || p.Status >= 500 {
				t.Fatalf("%v has status %d", err, p.Status)
			}
		}
		r := httptest.NewRequestWithContext(t.Context(), "POST", "/", strings.NewReader(string(b)))
		if _, filter, err := parseMatch(r, 1); err != nil {
			blame(err)
		} else if tmpl, ok := filter.(grid.Template); ok {
			if _, err := msgp.AppendValue(nil, map[string]any(tmpl)); err != nil {
				t.Fatalf("the template has no encoding: %v", err)
			}
		}
		if c, err := parseChange(b); err != nil {
			blame(err)
		} else if ms, err := form.ParseMutations(c.Mutations); err != nil {
			blame(err)
		} else if len(ms) == 0 || len(ms) > form.MaxMutations {
			t.Fatalf("%d mutations", len(ms))
		}
		for _, contentType := range []string{typeJSON, typeLines} {
			texts, _, err := splitEntries(contentType, b)
			if err != nil {
				blame(err)
			}
			for _, text := range texts {
				value, err := parseFields(text)
				if err != nil {
					blame(err)
				} else if !msgp.IsCanonical(value) {
					t.Fatalf("%x is not canonical", value)
				}
			}
		}
	})
}
