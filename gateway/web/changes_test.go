package web_test

import (
	"testing"

	"github.com/spacegrid/spacegrid/gateway/web"
)

// TestMutations: what each mutation does in JSON, one after the other, and what
// is refused without effect.
func TestMutations(t *testing.T) {
	d := open(t, web.Config{})
	d.want(201, "POST", "/v1/spaces", seats)
	const path = "/v1/spaces/seats/entries/A1"
	start := `{"a.b":1,"id":"A1","row":3}`
	tests := []struct{ change, want string }{
		{`[{"op":"add","field":"row","value":-3,"min":0}]`, `{"id":"A1","a.b":1,"row":0}`},
		{`[{"op":"add_float","path":"row","value":0.5,"max":3.5}]`, `{"id":"A1","a.b":1,"row":3.5}`},
		{`[{"op":"add","field":"row","value":-4,"min":0}]`, `OUT_OF_RANGE`},
		{`[{"op":"add","field":"row","value":1},{"op":"add","field":"row","value":1,"max":4.5}]`, `OUT_OF_RANGE`},
		{`[{"op":"set","path":"owner.name","value":"ada"}]`, `{"id":"A1","a.b":1,"row":3,"owner":{"name":"ada"}}`},
		{`[{"op":"set","path":"\"a.b\"","value":2}]`, `{"id":"A1","a.b":2,"row":3}`},
		{`[{"op":"unset","field":"a.b"}]`, `{"id":"A1","row":3}`},
		{`[{"op":"push","path":"log","value":{"n":1}},{"op":"push","path":"log","value":2},{"op":"set","path":"log.0.n","value":7}]`, `{"id":"A1","a.b":1,"log":[{"n":7},2],"row":3}`},
		{`[{"op":"insert","path":"tags","value":"x"},{"op":"insert","path":"tags","value":"y"},{"op":"insert","path":"tags","value":"x"},{"op":"remove","path":"tags","value":"y"}]`, `{"id":"A1","a.b":1,"row":3,"tags":["x"]}`},
		{`[{"op":"lowest","field":"row","value":2},{"op":"highest","field":"row","value":2.5}]`, `{"id":"A1","a.b":1,"row":2.5}`},
		{`[{"op":"push","path":"row","value":1}]`, `WRONG_KIND`},
		{`[{"op":"set","path":"tags.0","value":1},{"op":"set","path":"tags.x.0","value":1},{"op":"push","path":"log","value":1},{"op":"set","path":"log.1","value":1}]`, `OUT_OF_RANGE`},
		{`[{"op":"set","field":"a","path":"b","value":1}]`, `INVALID`},
		{`[{"op":"set","path":"a..b","value":1}]`, `INVALID`},
		{`[{"op":"set","field":"a","value":1,"min":1}]`, `INVALID`},
		{`[{"op":"add","field":"a","value":1,"min":"1"}]`, `INVALID`},
		{`[{"op":"add","field":"a","value":1,"min":2,"max":1}]`, `INVALID`},
		{`[{"op":"push","value":1}]`, `INVALID`},
		{`[{"op":"increment","field":"a","value":1}]`, `INVALID`},
	}
	for _, tt := range tests {
		d.want(204, "PUT", path, start)
		if tt.want[0] != '{' {
			d.refused(tt.want, "PATCH", path, tt.change)
			if r := d.want(200, "GET", path, ""); r.body != `{"id":"A1","a.b":1,"row":3}`+"\n" {
				t.Errorf("%s: refused, and yet %s", tt.change, r.body)
			}
			continue
		}
		if r := d.want(200, "PATCH", path, tt.change); r.body != tt.want+"\n" {
			t.Errorf("%s:\n got %swant %s", tt.change, r.body, tt.want)
		}
	}
}
