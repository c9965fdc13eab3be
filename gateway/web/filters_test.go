package web_test

import (
	"strings"
	"testing"

	"github.com/spacegrid/spacegrid/gateway/web"
)

// TestDefinitions: everything that a space's definition says goes in and comes
// out again, and what may be altered is altered as a whole or not at all.
func TestDefinitions(t *testing.T) {
	d := open(t, web.Config{})
	d.want(201, "POST", "/v1/spaces", `{"name":"dead","shape":"fields"}`)
	d.want(201, "POST", "/v1/spaces", `{"name":"blobs","shape":"bytes"}`)
	const jobs = `{"name":"jobs","shape":"fields","key":"id","indexes":[{"name":"prio","fields":["q","prio"],"ordered":true}],` +
		`"fields":[{"path":"prio","type":"int"},{"path":"q","type":"string"},{"path":"id","type":"string"}],` +
		`"group":"q","routing":"q","claim_lease":"1m0s","max_attempts":3,"dead_letter":"dead","consistency":"linearizable"}`
	if r := d.want(201, "POST", "/v1/spaces", jobs); r.body != jobs+"\n" {
		t.Fatalf("%s", r.body)
	}
	if r := d.want(200, "GET", "/v1/spaces/jobs", ""); r.body != jobs+"\n" {
		t.Fatalf("%s", r.body)
	}
	for _, x := range []struct{ name, body string }{
		{"INVALID", `{"name":"x","shape":"fields","max_attempts":3}`},
		{"INVALID", `{"name":"x","shape":"fields","dead_letter":"blobs"}`},
		{"SPACE_NOT_FOUND", `{"name":"x","shape":"fields","dead_letter":"nowhere"}`},
		{"INVALID", `{"name":"x","shape":"fields","fields":[{"path":"a","type":"text"}]}`},
		{"INVALID", `{"name":"x","claim_lease":"soon"}`},
		{"INVALID", `{"name":"x","shape":"bytes","group":"q"}`},
	} {
		d.refused(x.name, "POST", "/v1/spaces", x.body)
	}
	for _, x := range []struct{ name, body string }{
		{"INVALID", `{"add_indexes":[{"fields":["at"]}],"max_attempts":-1}`},
		{"INVALID", `{"dead_letter":"blobs"}`},
		{"INVALID", `{"dead_letter":""}`}, // attempts need one
		{"INVALID", `{"drop_index":["prio"]}`},
		{"SPACE_CONFLICT", `{"add_indexes":[{"name":"prio","fields":["at"]}]}`},
	} {
		d.refused(x.name, "PATCH", "/v1/spaces/jobs", x.body)
	}
	d.refused("SPACE_CONFLICT", "DELETE", "/v1/spaces/dead", "")
	if r := d.want(200, "GET", "/v1/spaces/jobs", ""); r.body != jobs+"\n" {
		t.Fatalf("refused, and yet %s", r.body)
	}
	for range 2 {
		d.want(200, "PATCH", "/v1/spaces/jobs", `{"add_indexes":[{"fields":["at"]}],"drop_indexes":["prio"],"add_fields":[{"path":"prio","type":"number"}],"drop_fields":["id"],"claim_lease":"","max_attempts":0,"dead_letter":""}`)
	}
	var got struct {
		Indexes []struct {
			Name     string
			Building *float64
		}
		Fields []struct{ Path, Type string }
		Lease  string `json:"claim_lease"`
		Dead   string `json:"dead_letter"`
	}
	d.want(200, "GET", "/v1/spaces/jobs", "").decode(t, &got)
	if len(got.Indexes) != 1 || got.Indexes[0].Name != "at" || len(got.Fields) != 2 || got.Fields[0].Type != "number" || got.Lease != "" || got.Dead != "" {
		t.Fatalf("%+v", got)
	}
	d.want(204, "DELETE", "/v1/spaces/dead", "")
}

// TestConditions: a condition narrows what is read, taken and changed, beside a
// template; what is wrong with its text is said with its place.
func TestConditions(t *testing.T) {
	d := open(t, web.Config{})
	d.want(201, "POST", "/v1/spaces", seats)
	d.want(200, "POST", "/v1/spaces/seats/entries", `[{"id":"A1","row":1,"price":10},{"id":"A2","row":1,"price":20},{"id":"B1","row":2,"price":30}]`)
	query := func(want, body string) {
		t.Helper()
		r := d.want(200, "POST", "/v1/spaces/seats/query", body)
		var keys []string
		for _, key := range []string{"A1", "A2", "B1"} {
			if strings.Contains(r.body, `"key":"`+key+`"`) {
				keys = append(keys, key)
			}
		}
		if got := strings.Join(keys, " "); got != want {
			t.Errorf("%s: got %s, want %s", body, got, want)
		}
	}
	query("A2 B1", `{"where":"price >= 20"}`)
	query("A2", `{"where":"price >= ?","args":[20],"template":{"row":1}}`)
	query("A1 B1", `{"where":"id in (:a, :b)","args":{"a":"A1","b":"B1"}}`)
	query("A1 A2 B1", `{"template":{}}`)
	p := d.refused("INVALID", "POST", "/v1/spaces/seats/query", `{"where":"price << 3"}`)
	if p.Offset == nil || *p.Offset != 7 || !strings.Contains(p.Message, `at byte 7, "< 3"`) {
		t.Errorf("%+v", p)
	}
	d.refused("INVALID", "POST", "/v1/spaces/seats/query", `{"where":"price = ?"}`)
	d.refused("INVALID", "POST", "/v1/spaces/seats/query", `{"args":[1]}`)
	d.refused("INVALID", "POST", "/v1/spaces/seats/query", `{"where":"price = 1","args":3}`)

	const path = "/v1/spaces/seats/entries/A1"
	d.refused("UNMET", "DELETE", path+"?if=price+%3E+10", "")
	d.refused("UNMET", "PUT", path+"?if=price+%3E+%3F&args=[10]", `{"id":"A1","row":1,"price":11}`)
	d.want(204, "PUT", path+"?if=price+%3E%3D+%3F&args=[10]", `{"id":"A1","row":1,"price":11}`)
	d.refused("UNMET", "PATCH", path, `{"mutations":[{"op":"add","field":"price","value":1}],"if":"price > 11"}`)
	d.refused("UNMET", "PATCH", path+"?if=price+%3E+11", `[{"op":"add","field":"price","value":1}]`)
	if r := d.want(200, "PATCH", path, `{"mutations":[{"op":"add","field":"price","value":1}],"if":"price = ?","args":[11]}`); r.body != `{"id":"A1","row":1,"price":12}`+"\n" {
		t.Errorf("%s", r.body)
	}
	if p := d.refused("INVALID", "PATCH", path, `{"mutations":[{"op":"unset","field":"price"}],"if":"price >"}`); p.Offset == nil || *p.Offset != 7 {
		t.Errorf("%+v", p)
	}

	r := d.want(200, "POST", "/v1/spaces/seats/change", `{"where":"price < 15","limit":5,"allow_scan":true,"mutations":[{"op":"set","path":"sold","value":true}]}`)
	if !strings.Contains(r.body, `{"id":"A1","row":1,"sold":true,"price":12}`) {
		t.Errorf("%s", r.body)
	}
	d.refused("NOT_FOUND", "POST", "/v1/spaces/seats/change", `{"where":"price < 5","mutations":[{"op":"set","path":"sold","value":true}]}`)
	d.refused("INVALID", "POST", "/v1/spaces/seats/change", `{"where":"price < 15"}`)
	r = d.want(200, "POST", "/v1/spaces/seats/take", `{"where":"sold"}`)
	if !strings.Contains(r.body, `"key":"A1"`) {
		t.Errorf("%s", r.body)
	}
	d.refused("NOT_FOUND", "POST", "/v1/spaces/seats/read", `{"where":"sold"}`)
}

// TestAggregates: entries are counted, summed, grouped and ranked; the way to
// them is explained.
func TestAggregates(t *testing.T) {
	d := open(t, web.Config{})
	d.want(201, "POST", "/v1/spaces", seats)
	d.want(200, "POST", "/v1/spaces/seats/entries", `[{"id":"A1","row":1,"price":10},{"id":"A2","row":1,"price":20},{"id":"B1","row":2,"price":30.5}]`)
	for _, x := range []struct{ ask, want string }{
		{`{}`, `{"columns":["count"],"groups":[],"rows":[{"count":3}]}`},
		{`{"columns":["count","sum(price) as total"],"group_by":["row"],"order_by":["-total"]}`, `{"columns":["count","total"],"groups":["row"],"rows":[{"row":2,"count":1,"total":30.5},{"row":1,"count":2,"total":30}]}`},
		{`{"where":"price > 100","columns":["max(price)","avg(price)"]}`, `{"columns":["max_price","avg_price"],"groups":[],"rows":[{"max_price":null,"avg_price":null}]}`},
		{`{"columns":["count"],"group_by":["row"],"having":"count > 1"}`, `{"columns":["count"],"groups":["row"],"rows":[{"row":1,"count":2}]}`},
		{`{"columns":["bottom(1, price)"],"local":true}`, `{"columns":["bottom_price"],"groups":[],"rows":[{"bottom_price":[{"key":"A1","value":{"id":"A1","row":1,"price":10}}]}]}`},
	} {
		if r := d.want(200, "POST", "/v1/spaces/seats/aggregate", x.ask); r.body != x.want+"\n" {
			t.Errorf("%s:\n got %swant %s", x.ask, r.body, x.want)
		}
	}
	for _, bad := range []string{`{"columns":["total(price)"]}`, `{"columns":["sum"]}`, `{"columns":["sum(price"]}`, `{"columns":["top(price)"]}`, `{"having":"count >"}`, `{"order_by":["nope"]}`, `{"column":["count"]}`} {
		d.refused("INVALID", "POST", "/v1/spaces/seats/aggregate", bad)
	}
	d.refused("WRONG_KIND", "POST", "/v1/spaces/seats/aggregate", `{"columns":["sum(id)"]}`)
	var e struct {
		Partitions int
		Text       string
		Ways       []struct {
			Index             string
			Examined, Matched int
		}
	}
	d.want(200, "POST", "/v1/spaces/seats/explain", `{"template":{"row":1}}`).decode(t, &e)
	if e.Partitions != 8 || len(e.Ways) != 1 || e.Ways[0].Index != "row" || e.Ways[0].Matched != 2 || !strings.Contains(e.Text, "takes from index") {
		t.Errorf("%+v", e)
	}
	e.Ways = nil
	d.want(200, "POST", "/v1/spaces/seats/explain", `{"where":"price > 15"}`).decode(t, &e)
	if len(e.Ways) != 1 || e.Ways[0].Index != "" || e.Ways[0].Examined != 3 || e.Ways[0].Matched != 2 {
		t.Errorf("%+v", e)
	}
	d.refused("SPACE_NOT_FOUND", "POST", "/v1/spaces/nowhere/explain", `{}`)
}
