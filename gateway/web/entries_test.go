package web_test

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/spacegrid/spacegrid/gateway/web"
)

const seats = `{"name":"seats","shape":"fields","key":"id","indexes":[{"fields":["row"]}]}`

// TestEntryLifecycle: an entry is written, read with its version, changed under
// a condition, and removed.
func TestEntryLifecycle(t *testing.T) {
	d := open(t, web.Config{})
	d.want(201, "POST", "/v1/spaces", seats)
	d.want(201, "POST", "/v1/spaces", seats)
	d.refused("SPACE_CONFLICT", "POST", "/v1/spaces", `{"name":"seats","shape":"bytes"}`)
	const path = "/v1/spaces/seats/entries/A1"
	d.refused("NOT_FOUND", "GET", path, "")

	made := d.want(204, "PUT", path, `{"id":"A1","row":1,"big":9007199254740993,"price":2.0}`, "If-None-Match", "*").Header.Get("ETag")
	if p := d.refused("EXISTS", "PUT", path, `{"id":"A1"}`, "If-None-Match", "*"); p.Status != 412 {
		t.Fatalf("HTTP has 412 for a failed If-None-Match, this is %d", p.Status)
	}
	r := d.want(200, "GET", path, "")
	if tag := r.Header.Get("ETag"); tag != made || tag == "" {
		t.Fatalf("read %q, written %q", tag, made)
	}
	// Integers stay integers, floats stay floats.
	if want := `{"id":"A1","big":9007199254740993,"row":1,"price":2.0}` + "\n"; r.body != want {
		t.Fatalf("%s", r.body)
	}
	d.want(304, "GET", path, "", "If-None-Match", made)
	if r := d.want(200, "HEAD", path, ""); r.body != "" || r.Header.Get("ETag") != made {
		t.Fatalf("HEAD: %q %v", r.body, r.Header)
	}

	r = d.want(200, "PATCH", path, `[{"op":"add","field":"row","value":2},{"op":"set","field":"buyer","value":"ann"},{"op":"unset","field":"big"},{"op":"append","field":"buyer","value":"e"},{"op":"add_float","field":"price","value":1}]`, "If-Match", made)
	if want := `{"id":"A1","row":3,"buyer":"anne","price":3.0}` + "\n"; r.body != want {
		t.Fatalf("%s", r.body)
	}
	second := r.Header.Get("ETag")
	d.refused("CONFLICT", "PATCH", path, `[{"op":"add","field":"row","value":2}]`, "If-Match", made)
	d.refused("CONFLICT", "PUT", path, `{}`, "If-Match", made)
	d.refused("CONFLICT", "DELETE", path, "", "If-Match", made)
	third := d.want(204, "PUT", path, `{"id":"A1"}`, "If-Match", second).Header.Get("ETag")
	d.want(204, "PUT", path, `{"id":"A1"}`, "If-Match", "*")
	if third == second {
		t.Fatal("the version has not moved")
	}
	if r := d.want(200, "DELETE", path+"?return=1", ""); r.body != `{"id":"A1"}`+"\n" {
		t.Fatalf("%s", r.body)
	}
	if p := d.refused("NOT_FOUND", "DELETE", path, ""); p.Status != 404 {
		t.Fatal(p.Status)
	}
	if p := d.refused("NOT_FOUND", "PUT", path, `{}`, "If-Match", "*"); p.Status != 412 {
		t.Fatal(p.Status)
	}
	d.want(200, "PATCH", path+"?create=1", `[{"op":"add","field":"n","value":1}]`)
	d.want(204, "DELETE", "/v1/spaces/seats", "")
	d.refused("SPACE_NOT_FOUND", "GET", path, "")
}

// TestKeysAndBytes: any key goes through one segment of the path, and opaque
// bytes go in and out as they are.
func TestKeysAndBytes(t *testing.T) {
	d := open(t, web.Config{})
	value := string([]byte{0, 1, 2, 0xff, '"'})
	for _, key := range []string{"plain", "a/b/c", "ä ö", "50%", "..", ".", "a?b#c", "{tag}x", "\x00\xff", strings.Repeat("k", 1024)} {
		path := "/v1/spaces/default/entries/" + strings.ReplaceAll(url.PathEscape(key), ".", "%2E")
		d.want(204, "PUT", path, value, "Content-Type", "application/octet-stream")
		r := d.want(200, "GET", path, "")
		if r.body != value || r.Header.Get("Content-Type") != "application/octet-stream" {
			t.Fatalf("%q: %q %v", key, r.body, r.Header)
		}
	}
	d.refused("TOO_LARGE", "GET", "/v1/spaces/default/entries/"+strings.Repeat("k", 1025), "")
	d.want(200, "PATCH", "/v1/spaces/default/entries/n?create=1", `[{"op":"add","value":41},{"op":"add","value":1}]`)
	if r := d.want(200, "GET", "/v1/spaces/default/entries/n", ""); r.body != "42" {
		t.Fatalf("%q", r.body)
	}
	r := d.want(201, "POST", "/v1/spaces/default/entries", "xyz", "Content-Type", "application/octet-stream")
	if r := d.want(200, "GET", r.Header.Get("Location"), ""); r.body != "xyz" {
		t.Fatalf("%q", r.body)
	}
	// Among other entries, bytes are the reserved object.
	r = d.want(200, "POST", "/v1/spaces/default/query", "")
	if want := `"value":{"$bytes":"` + base64.StdEncoding.EncodeToString([]byte(value)) + `"}`; strings.Count(r.body, want) != 10 {
		t.Fatalf("%s", r.body)
	}
	d.want(204, "PUT", "/v1/spaces/default/entries/short?lease=1h", "x", "Content-Type", "application/octet-stream")
	d.refused("INVALID", "PUT", "/v1/spaces/default/entries/short?lease=soon", "x", "Content-Type", "application/octet-stream")
}

// TestBatchWrite: a list is written in one go; what cannot be written is said at
// its place and does not keep the others back.
func TestBatchWrite(t *testing.T) {
	d := open(t, web.Config{})
	d.want(201, "POST", "/v1/spaces", seats)
	r := d.want(201, "POST", "/v1/spaces/seats/entries", `{"id":7,"row":1}`)
	if loc := r.Header.Get("Location"); loc != "/v1/spaces/seats/entries/7" || r.Header.Get("ETag") == "" {
		t.Fatalf("%v", r.Header)
	}
	var lines strings.Builder
	for i := range 500 {
		fmt.Fprintf(&lines, "{\"id\":\"s%d\",\"row\":%d}\n\n", i, i%5)
	}
	var got struct {
		Written, Failed int
		Results         []struct {
			Key     string
			Version uint64
			Error   *web.Problem
		}
	}
	d.want(200, "POST", "/v1/spaces/seats/entries", lines.String(), "Content-Type", "application/x-ndjson").decode(t, &got)
	if got.Written != 500 || got.Failed != 0 || got.Results[499].Key != "s499" || got.Results[499].Version == 0 {
		t.Fatalf("%+v", got)
	}
	d.want(207, "POST", "/v1/spaces/seats/entries?mode=insert", `[{"id":"new"},{"id":"s1"},{"row":1},3]`).decode(t, &got)
	if got.Written != 1 || got.Failed != 3 || got.Results[1].Error.Name != "EXISTS" || got.Results[2].Error.Name != "INVALID" || got.Results[3].Error.Name != "INVALID" {
		t.Fatalf("%+v", got)
	}
	// Without a key field keys are generated.
	d.want(201, "POST", "/v1/spaces", `{"name":"log","shape":"fields"}`)
	d.want(200, "POST", "/v1/spaces/log/entries", `[{"a":1},{"a":1}]`)
	var entries struct{ Entries []struct{ Key string } }
	d.want(200, "POST", "/v1/spaces/log/query", "").decode(t, &entries)
	if len(entries.Entries) != 2 || entries.Entries[0].Key == entries.Entries[1].Key {
		t.Fatalf("%+v", entries)
	}
}

// TestMatching: read, take and query find by template; take removes; a query
// streams to its end line.
func TestMatching(t *testing.T) {
	d := open(t, web.Config{Limits: web.Limits{QueryEntries: 20}})
	d.want(201, "POST", "/v1/spaces", seats)
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf(`{"id":"s%d","row":%d}`, i, i%5))
	}
	d.want(200, "POST", "/v1/spaces/seats/entries", "["+strings.Join(list, ",")+"]")

	var got struct {
		Entries []struct {
			Key     string
			Version uint64
			Value   struct {
				ID  string
				Row int
			}
		}
		More bool
	}
	d.want(200, "POST", "/v1/spaces/seats/read", `{"template":{"row":3}}`).decode(t, &got)
	if len(got.Entries) != 1 || got.Entries[0].Value.Row != 3 || got.Entries[0].Key != got.Entries[0].Value.ID {
		t.Fatalf("%+v", got)
	}
	d.refused("NOT_FOUND", "POST", "/v1/spaces/seats/read", `{"template":{"row":"3"}}`)
	d.want(200, "POST", "/v1/spaces/seats/query", `{"template":{"row":3}}`).decode(t, &got)
	if len(got.Entries) != 20 || got.More {
		t.Fatalf("%d entries, more %t", len(got.Entries), got.More)
	}
	d.want(200, "POST", "/v1/spaces/seats/query", `{}`).decode(t, &got)
	if len(got.Entries) != 20 || !got.More {
		t.Fatalf("%d entries, more %t", len(got.Entries), got.More)
	}
	for _, how := range [][]string{{"?stream=1"}, {"", "Accept", "application/jsonl"}} {
		r := d.want(200, "POST", "/v1/spaces/seats/query"+how[0], `{}`, how[1:]...)
		if lines := strings.Split(strings.TrimSpace(r.body), "\n"); len(lines) != 101 || lines[100] != `{"end":100}` {
			t.Fatalf("%d lines, the last %s", len(lines), lines[len(lines)-1])
		}
	}
	taken := map[string]bool{}
	for range 20 {
		d.want(200, "POST", "/v1/spaces/seats/take", `{"template":{"row":3}}`).decode(t, &got)
		if taken[got.Entries[0].Key] {
			t.Fatalf("%s was taken twice", got.Entries[0].Key)
		}
		taken[got.Entries[0].Key] = true
	}
	d.refused("NOT_FOUND", "POST", "/v1/spaces/seats/take", `{"template":{"row":3}}`)
}

// TestRefusals: what is wrong with a request is said in the one form, before the
// grid is asked where that is possible.
func TestRefusals(t *testing.T) {
	d := open(t, web.Config{Limits: web.Limits{BodyBytes: 1 << 20, BatchEntries: 3}})
	d.want(201, "POST", "/v1/spaces", `{"name":"seats","shape":"fields","key":"id","scan_limit":2}`)
	d.want(200, "POST", "/v1/spaces/seats/entries", `[{"id":"{x}1"},{"id":"{x}2"},{"id":"{x}3"}]`)
	entries := "/v1/spaces/seats/entries"
	for _, x := range []struct{ code, method, path, body, header, value string }{
		{"NO_ROUTE", "GET", "/v2", "", "", ""},
		{"METHOD_NOT_ALLOWED", "PATCH", "/v1/spaces", "", "", ""},
		{"SPACE_NOT_FOUND", "GET", "/v1/spaces/none", "", "", ""},
		{"SPACE_NOT_FOUND", "DELETE", "/v1/spaces/none", "", "", ""},
		{"SPACE_NOT_FOUND", "POST", "/v1/spaces/none/query", "", "", ""},
		{"INVALID", "POST", "/v1/spaces", `{"name":"a b"}`, "", ""},
		{"INVALID", "POST", "/v1/spaces", `{"name":"a","shape":"cube"}`, "", ""},
		{"INVALID", "POST", "/v1/spaces", `{"name":"a","colour":1}`, "", ""},
		{"INVALID", "POST", "/v1/spaces", `{"name":"a"} x`, "", ""},
		{"INVALID", "PUT", entries + "/1", `[]`, "", ""},
		{"INVALID", "PUT", entries + "/1", `{"a":`, "", ""},
		{"INVALID", "PUT", entries + "/1", `{"a":1,"a":2}`, "", ""},
		{"INVALID", "PUT", entries + "/1", strings.Repeat(`{"a":`, 20) + "1" + strings.Repeat("}", 20), "", ""},
		{"INVALID", "PUT", entries + "/1", `{}`, "If-Match", "42"},
		{"INVALID", "PUT", entries + "/1", `{}`, "If-None-Match", `"42"`},
		{"INVALID", "DELETE", entries + "/1", ``, "If-None-Match", "*"},
		{"WRONG_KIND", "PUT", entries + "/1", `x`, "Content-Type", "application/octet-stream"},
		{"MEDIA_TYPE", "PUT", entries + "/1", `<a/>`, "Content-Type", "text/xml"},
		{"TOO_LARGE", "PUT", entries + "/1", `{"a":"` + strings.Repeat("x", 1<<20) + `"}`, "", ""},
		{"TOO_LARGE", "POST", entries, `[{},{},{},{}]`, "", ""},
		{"INVALID", "POST", entries + "?mode=maybe", `{}`, "", ""},
		{"INVALID", "PATCH", entries + "/1", `[]`, "", ""},
		{"INVALID", "PATCH", entries + "/1", `[{"op":"twist"}]`, "", ""},
		{"INVALID", "PATCH", entries + "/1", `[{"op":"add","field":"id","value":"x"}]`, "", ""},
		{"INVALID", "PATCH", entries + "/{x}1", `[{"op":"add","value":1}]`, "", ""},
		{"SCAN_REFUSED", "POST", "/v1/spaces/seats/query", `{"template":{"row":1}}`, "", ""},
		{"SCAN_REFUSED", "POST", "/v1/spaces/seats/take", `{"template":{"row":1}}`, "", ""},
		{"INVALID", "POST", "/v1/spaces/seats/query", `{"template":[]}`, "", ""},
		{"INVALID", "POST", "/v1/spaces/seats/query", `{"limit":-1}`, "", ""},
		{"INVALID", "POST", "/v1/spaces/seats/take", `{"limit":100000}`, "", ""},
		{"UNKNOWN_HANDLER", "POST", "/v1/units/tickets/buy", `{"key":"a"}`, "", ""},
		{"INVALID", "POST", "/v1/units/tickets/buy", `{}`, "", ""},
		{"WRONG_PROTOCOL", "GET", "/v1/ws", "", "", ""},
		{"NOT_FOUND", "GET", "/v1/errors/E9999", "", "", ""},
	} {
		var headers []string
		if x.header != "" {
			headers = []string{x.header, x.value}
		}
		if p := d.refused(x.code, x.method, x.path, x.body, headers...); p.Message == "" || p.Indeterminate {
			t.Errorf("%s %s: %+v", x.method, x.path, p)
		}
	}
	if allow := d.do("PATCH", "/v1/spaces", "").Header.Get("Allow"); allow != "GET, HEAD, POST" {
		t.Errorf("Allow: %s", allow)
	}
	d.want(200, "GET", "/v1/errors/E2004", "")
	d.want(200, "GET", "/v1/errors", "")
}
