package resp

import (
	"fmt"
	"io"
	"strings"
	"testing"
)

// One connection over loopback, the grid of one member in memory behind it: what
// a command costs from the client's write to its read, both ends included.
func BenchmarkCommands(b *testing.B) {
	value := strings.Repeat("v", 100)
	for _, kind := range []struct{ name, reply string }{
		{"GET", "$100\r\n" + value + "\r\n"},
		{"SET", "+OK\r\n"},
	} {
		for _, depth := range []int{1, 16, 64} {
			b.Run(fmt.Sprint(kind.name, "/", depth), func(b *testing.B) {
				_, address := startCommands(b, CommandsConfig{})
				c := dial(b, address)
				sets, request := strings.Builder{}, strings.Builder{}
				for i := range depth {
					set := fmt.Sprintf("*3\r\n$3\r\nSET\r\n$10\r\nkey:%06d\r\n$100\r\n%s\r\n", i, value)
					sets.WriteString(set)
					if kind.name == "SET" {
						request.WriteString(set)
					} else {
						fmt.Fprintf(&request, "*2\r\n$3\r\nGET\r\n$10\r\nkey:%06d\r\n", i)
					}
				}
				send(b, c, sets.String())
				expect(b, c, strings.Repeat("+OK\r\n", depth))
				reply := make([]byte, depth*len(kind.reply))
				text := []byte(request.String())
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.Write(text); err != nil {
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
}
