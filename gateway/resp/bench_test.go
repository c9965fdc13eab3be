package resp

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
)

// mapHandler keeps byte strings in a map: the least a server can do.
type mapHandler struct {
	table *Table
	mu    sync.RWMutex
	m     map[string][]byte
}

func (h *mapHandler) Serve(_ context.Context, s *Session, commands []Command) {
	for _, c := range commands {
		spec, refusal := h.table.Resolve(c)
		if spec == nil {
			s.Out.Error(refusal)
			continue
		}
		switch spec.Name {
		case "get":
			h.mu.RLock()
			value, ok := h.m[string(c.Args[1])]
			h.mu.RUnlock()
			if ok {
				s.Out.Bulk(value)
			} else {
				s.Out.Null()
			}
		case "set":
			h.mu.Lock()
			h.m[string(c.Args[1])] = bytes.Clone(c.Args[2])
			h.mu.Unlock()
			s.Out.OK()
		default:
			s.Out.Status("PONG")
		}
	}
}

func (*mapHandler) Closed(*Session) {}

// One connection over loopback, a pipeline at a time: what a GET costs, both
// ends included, when the data costs next to nothing.
func BenchmarkPipeline(b *testing.B) {
	for _, depth := range []int{1, 16, 64} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			value := strings.Repeat("v", 100)
			_, address := start(b, Config{Handler: &mapHandler{table: NewTable(), m: map[string][]byte{"key:000001": []byte(value)}}})
			c := dial(b, address)
			request := []byte(strings.Repeat("*2\r\n$3\r\nGET\r\n$10\r\nkey:000001\r\n", depth))
			reply := make([]byte, depth*len("$100\r\n"+value+"\r\n"))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, reply); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*depth), "ns/command")
		})
	}
}

// endless repeats a pipeline.
type endless struct {
	pipeline []byte
	at       int
}

func (e *endless) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k := copy(b[n:], e.pipeline[e.at:])
		e.at = (e.at + k) % len(e.pipeline)
		n += k
	}
	return n, nil
}

// What parsing and replying cost alone, without a network.
func BenchmarkParseAndReply(b *testing.B) {
	r := NewReader(&endless{pipeline: []byte("*2\r\n$3\r\nGET\r\n$10\r\nkey:000001\r\n")}, Limits{})
	r.SetAuthenticated(true)
	w := NewWriter(io.Discard)
	table := NewTable()
	value := bytes.Repeat([]byte("v"), 100)
	b.ReportAllocs()
	for done := 0; done < b.N; {
		commands, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		for _, c := range commands {
			if _, refusal := table.Resolve(c); refusal != "" {
				b.Fatal(refusal)
			}
			w.Bulk(value)
		}
		done += len(commands)
	}
}
