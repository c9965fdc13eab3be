package web_test

import (
	"context"
	"errors"
	"testing"

	"github.com/spacegrid/spacegrid/gateway/web"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// echo answers with its request and leaves it under the call's key; a request of
// null it refuses.
type echo struct{}

func (echo) Serve(_ context.Context, tx *grid.Txn, request []byte) ([]byte, error) {
	if msgp.KindOf(request) == msgp.Nil {
		return nil, errors.New("sold out")
	}
	return request, tx.Write(grid.DefaultSpace, grid.Entry{Key: tx.Key(), Value: request, Kind: grid.Fields})
}

// TestInvoke: a handler gets the request as canonical msgpack and its response
// comes back as JSON; its refusal is one of its own kind.
func TestInvoke(t *testing.T) {
	g := newGrid(t)
	if err := g.Handle("tickets", "buy", echo{}); err != nil {
		t.Fatal(err)
	}
	d := open(t, web.Config{Grid: g})
	r := d.want(200, "POST", "/v1/units/tickets/buy", `{"key":7,"request":{"seat":"A1","n":1,"at":{"$time":"2026-01-02T03:04:05Z"}}}`)
	if want := `{"response":{"n":1,"at":{"$time":"2026-01-02T03:04:05Z"},"seat":"A1"}}` + "\n"; r.body != want {
		t.Fatalf("%s", r.body)
	}
	d.want(200, "GET", "/v1/spaces/default/entries/7", "")
	if p := d.refused("REFUSED", "POST", "/v1/units/tickets/buy", `{"key":"x"}`); p.Message != "sold out" {
		t.Fatalf("%+v", p)
	}
	d.refused("NOT_FOUND", "GET", "/v1/spaces/default/entries/x", "")
	d.refused("UNKNOWN_HANDLER", "POST", "/v1/units/tickets/sell", `{"key":"x"}`)
}
