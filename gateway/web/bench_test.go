package web_test

import (
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/spacegrid/spacegrid/gateway/web"
	"github.com/spacegrid/spacegrid/gateway/web/wsclient"
	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
)

// BenchmarkSubscription: entries written in batches of 500 until a subscriber in
// the same process has them all; one operation is one entry.
func BenchmarkSubscription(b *testing.B) {
	g, err := grid.Open(b.Context(), grid.Config{Name: "m1"})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := g.Close(); err != nil {
			b.Error(err)
		}
	}()
	s, err := web.New(web.Config{Grid: g, Self: "m1", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
		if err := <-served; err != nil {
			b.Error(err)
		}
	}()
	def, err := g.Describe(b.Context(), grid.DefaultSpace)
	if err != nil {
		b.Fatal(err)
	}
	value, err := grid.FieldsOf(map[string]any{"row": 7, "buyer": "somebody", "price": 12.5})
	if err != nil {
		b.Fatal(err)
	}
	const batch = 500
	write := func() {
		w := g.NewBatch()
		for i := range batch {
			w.Do(space.Op{Code: space.OpWrite, Space: def.ID, Key: fmt.Append(nil, "k", i), Value: value, Kind: space.KindFields})
		}
		if err := g.Run(b.Context(), w); err != nil {
			b.Error(err)
		}
	}
	watch := wsclient.New(wsclient.Config{Addresses: []string{l.Addr().String()}, Space: grid.DefaultSpace, Now: true, Credit: 4 * batch})
	seen, wanted := 0, (b.N+batch-1)/batch*batch
	for e, err := range watch.Events(b.Context()) {
		switch {
		case err != nil:
			b.Fatal(err)
		case e.Op == wsclient.Mark && seen == 0:
			b.ResetTimer()
			go func() {
				for range wanted / batch {
					write()
				}
			}()
		case e.Op == wsclient.Written, e.Op == wsclient.Updated:
			seen++
		}
		if seen == wanted {
			break
		}
	}
}
