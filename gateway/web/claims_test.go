package web_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/gateway/web"
)

// claimed is the answer to a claim.
type claimed struct {
	Entries []struct {
		Key, Token string
		Attempts   int
		Claim      int `json:"claim_ms"`
	}
}

// TestClaims: a claim hides its entry until it is settled by its token; a token
// that is not the newest settles nothing.
func TestClaims(t *testing.T) {
	d := open(t, web.Config{})
	d.want(201, "POST", "/v1/spaces", `{"name":"dead","shape":"fields"}`)
	d.want(201, "POST", "/v1/spaces", `{"name":"jobs","shape":"fields","key":"id","max_attempts":2,"dead_letter":"dead"}`)
	d.want(200, "POST", "/v1/spaces/jobs/entries", `[{"id":"j1","n":1}]`)
	claim := func(body string, attempts int) string {
		t.Helper()
		var got claimed
		d.want(200, "POST", "/v1/spaces/jobs/claim", body).decode(t, &got)
		if len(got.Entries) != 1 || got.Entries[0].Key != "j1" || got.Entries[0].Attempts != attempts || got.Entries[0].Claim == 0 {
			t.Fatalf("%s: %+v", body, got)
		}
		return `{"key":"j1","token":"` + got.Entries[0].Token + `"`
	}
	first := claim(`{"lease":"1m"}`, 0)
	d.refused("NOT_FOUND", "POST", "/v1/spaces/jobs/claim", `{"where":"n = 1"}`)
	d.refused("CLAIMED", "POST", "/v1/spaces/jobs/claim", `{"key":"j1"}`)
	d.refused("CLAIMED", "PUT", "/v1/spaces/jobs/entries/j1", `{"id":"j1"}`)
	d.refused("NOT_FOUND", "GET", "/v1/spaces/jobs/entries/j1", "")
	d.want(204, "POST", "/v1/spaces/jobs/extend", first+`,"lease":"2m"}`)
	d.want(204, "POST", "/v1/spaces/jobs/nack", first+`,"mutations":[{"op":"add","field":"n","value":1}]}`)
	d.refused("FENCED", "POST", "/v1/spaces/jobs/ack", first+`}`)
	d.refused("FENCED", "POST", "/v1/spaces/jobs/extend", first+`}`)
	second := claim(`{"key":"j1"}`, 1)
	d.want(204, "POST", "/v1/spaces/jobs/nack", second+`,"uncounted":true,"delay_ms":30}`)
	third := claim(`{"where":"n = 2","wait_ms":10000}`, 1)
	d.want(204, "POST", "/v1/spaces/jobs/nack", third+`}`)
	d.refused("NOT_FOUND", "GET", "/v1/spaces/jobs/entries/j1", "")
	d.want(200, "GET", "/v1/spaces/dead/entries/j1", "")

	d.want(200, "POST", "/v1/spaces/jobs/entries", `[{"id":"j1","n":1}]`)
	d.want(204, "POST", "/v1/spaces/jobs/ack", claim(`{}`, 0)+`}`)
	d.refused("NOT_FOUND", "GET", "/v1/spaces/jobs/entries/j1", "")
	for _, x := range []struct{ path, body string }{
		{"claim", `{"key":"j1","where":"n = 1"}`}, {"claim", `{"lease":"forever"}`}, {"claim", `{"limit":0}`}, {"claim", `{"wait_ms":-1}`},
		{"claim", `{"wait_ms":60001}`}, {"claim", `{"local":true}`}, {"ack", `{"key":"j1"}`}, {"ack", `{"token":"1-2"}`}, {"nack", first + `,"delay_ms":-1}`},
		{"nack", first + `,"mutations":[]}`}, {"extend", first + `,"lease":"forever"}`}, {"query", `{"wait_ms":1}`},
	} {
		d.refused("INVALID", "POST", "/v1/spaces/jobs/"+x.path, x.body)
	}
}

// TestWaits: a take or read that waits gets what is written meanwhile; one whose
// client has gone takes nothing; a server that drains ends them.
func TestWaits(t *testing.T) {
	d := open(t, web.Config{})
	d.want(201, "POST", "/v1/spaces", seats)
	ask := func(ctx context.Context, verb string) <-chan string {
		body := make(chan string, 1)
		go func() {
			defer close(body)
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.addr+"/v1/spaces/seats/"+verb, strings.NewReader(`{"where":"row = 1","wait_ms":20000}`))
			if err != nil {
				return
			}
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				return
			}
			defer resp.Body.Close()
			b := make([]byte, 1<<10)
			n, _ := resp.Body.Read(b)
			body <- string(b[:n])
		}()
		return body
	}
	read := ask(t.Context(), "read")
	time.Sleep(20 * time.Millisecond) // either order is right, this one is the one meant
	d.want(204, "PUT", "/v1/spaces/seats/entries/A1", `{"id":"A1","row":1}`)
	if body := <-read; !strings.Contains(body, `"key":"A1"`) {
		t.Fatalf("read %q", body)
	}
	d.want(200, "DELETE", "/v1/spaces/seats/entries/A1?return=1", "")
	take := ask(t.Context(), "take")
	time.Sleep(20 * time.Millisecond)
	d.want(204, "PUT", "/v1/spaces/seats/entries/A2", `{"id":"A2","row":1}`)
	if body := <-take; !strings.Contains(body, `"key":"A2"`) {
		t.Fatalf("took %q", body)
	}
	d.refused("NOT_FOUND", "POST", "/v1/spaces/seats/take", `{"where":"row = 1","wait_ms":20}`)

	ctx, cancel := context.WithCancel(t.Context())
	gone := ask(ctx, "take")
	time.Sleep(20 * time.Millisecond)
	cancel()
	if body := <-gone; body != "" {
		t.Fatalf("a client that has gone got %q", body)
	}
	d.nobodyWaits()
	d.want(204, "PUT", "/v1/spaces/seats/entries/A3", `{"id":"A3","row":1}`)
	d.want(200, "DELETE", "/v1/spaces/seats/entries/A3?return=1", "")

	last := ask(t.Context(), "claim")
	time.Sleep(20 * time.Millisecond)
	if err := d.server.Close(); err != nil {
		t.Fatal(err)
	}
	if body := <-last; !strings.Contains(body, `"DRAINING"`) {
		t.Fatalf("a server that left answered %q", body)
	}
}

// nobodyWaits returns when no command waits in any partition: the server has
// noticed whose clients have gone.
func (d *doorTo) nobodyWaits() {
	d.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		var partitions []struct {
			Waiting int `json:"waiting"`
		}
		d.want(200, http.MethodGet, "/v1/partitions", "").decode(d.t, &partitions)
		waiting := 0
		for _, p := range partitions {
			waiting += p.Waiting
		}
		if waiting == 0 {
			return
		}
		if time.Now().After(end) {
			d.t.Fatalf("%d commands wait for clients that have gone", waiting)
		}
	}
}
