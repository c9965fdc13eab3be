package resp

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// spent runs f and returns the time it took and the bytes it allocated.
func spent(f func()) (time.Duration, uint64) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	return took, after.TotalAlloc - before.TotalAlloc
}

// drainReader reads all commands of a stream, keeping none.
func drainReader(src io.Reader, authenticated bool) error {
	r := NewReader(src, Limits{})
	r.SetAuthenticated(authenticated)
	for {
		if _, err := r.Next(); err != nil {
			return err
		}
	}
}

// A hostile stream costs memory and time in proportion to its bytes, whatever
// it declares and however it is cut.
func TestReaderUnderAttack(t *testing.T) {
	const size = 256 << 10
	for _, attack := range []struct {
		name   string
		stream []byte
	}{
		{"largest count", []byte("*9223372036854775807\r\n")},
		{"a million arguments declared", []byte("*1048576\r\n")},
		{"a million arguments declared, again and again", bytes.Repeat([]byte("*1048576\r\n"), 1000)},
		{"negative counts", bytes.Repeat([]byte("*-9999999\r\n"), 10_000)},
		{"empty arrays", bytes.Repeat([]byte("*0\r\n"), size/4)},
		{"largest bulk declared", []byte("*1\r\n$8388608\r\nx")},
		{"largest bulk declared and begun", append([]byte("*1\r\n$8388608\r\n"), bytes.Repeat([]byte("x"), 10_000)...)},
		{"null argument", []byte("*3\r\n$3\r\nSET\r\n$-1\r\n$-1\r\n")},
		{"nested arrays", bytes.Repeat([]byte("*1\r\n"), size/4)},
		{"empty lines", bytes.Repeat([]byte("\n"), size)},
		{"inline without end", bytes.Repeat([]byte("a"), size)},
		{"header without end", append([]byte("*"), bytes.Repeat([]byte("1"), size)...)},
		{"quotes without end", bytes.Repeat([]byte(`"`), size)},
		{"smallest commands", bytes.Repeat([]byte("a\n"), size/2)},
		{"words of one byte", bytes.Repeat([]byte("a "), size/2)},
		{"empty arguments", append([]byte("*43000\r\n"), bytes.Repeat([]byte("$0\r\n\r\n"), 43_000)...)},
		{"one large value", fmt.Appendf(nil, "*1\r\n$%d\r\n%s\r\n", size, strings.Repeat("v", size))},
		{"carriage returns", bytes.Repeat([]byte("*\r"), size/2)},
	} {
		for _, authenticated := range []bool{false, true} {
			for cut, src := range map[string]io.Reader{
				"whole":        bytes.NewReader(attack.stream),
				"byte by byte": iotest.OneByteReader(bytes.NewReader(attack.stream)),
			} {
				t.Run(fmt.Sprintf("%s/%s/authenticated=%t", attack.name, cut, authenticated), func(t *testing.T) {
					took, allocated := spent(func() {
						if err := drainReader(src, authenticated); err == nil {
							t.Error("the stream did not end")
						}
					})
					// Buffers and argument lists double: each byte may be
					// paid for a few times, and an argument of one byte
					// costs slots of 40 bytes.
					if most := uint64(64<<10 + 96*len(attack.stream)); allocated > most {
						t.Errorf("%d bytes of input allocated %d, more than %d", len(attack.stream), allocated, most)
					}
					if took > 5*time.Second {
						t.Errorf("%d bytes of input took %v", len(attack.stream), took)
					}
				})
			}
		}
	}
}

// Time grows with the bytes, not with their square, when they come one by one:
// the reader never goes back to the start of what it waits for.
func TestReaderIsLinearInPieces(t *testing.T) {
	const small, large = 16 << 10, 1 << 20
	for name, command := range map[string]func(size int) string{
		"one value": func(size int) string { return fmt.Sprintf("*1\r\n$%d\r\n%s\r\n", size, strings.Repeat("v", size)) },
		"many arguments": func(size int) string {
			return fmt.Sprintf("*%d\r\n%s", size/7, strings.Repeat("$1\r\nv\r\n", size/7))
		},
	} {
		cost := func(stream string) time.Duration {
			best := time.Hour
			for range 3 {
				took, _ := spent(func() { _ = drainReader(iotest.OneByteReader(strings.NewReader(stream)), true) })
				best = min(best, took)
			}
			return best
		}
		// The same bytes, as many small commands and as one large: linear is
		// 1, quadratic is large/small = 64.
		many := cost(strings.Repeat(command(small), large/small))
		if one := cost(command(large)); one > 20*many {
			t.Errorf("%s: in pieces of %d bytes %v, of %d bytes %v", name, small, many, large, one)
		}
	}
}

// The buffer follows what is received: small at first, large while a large
// command needs it, and given back afterwards.
func TestReaderBufferFollowsUse(t *testing.T) {
	src, sink := io.Pipe()
	defer src.Close()
	send := func(b string) { go func() { _, _ = io.WriteString(sink, b) }() }
	r := NewReader(src, Limits{})
	r.SetAuthenticated(true)
	next := func() {
		t.Helper()
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	send("PING\r\n")
	next()
	if r.Held() != readerMinBuffer {
		t.Errorf("a small command holds %d bytes", r.Held())
	}
	send(fmt.Sprintf("*1\r\n$%d\r\n%s\r\n", 1<<20, strings.Repeat("v", 1<<20)))
	next()
	if r.Held() < 1<<20 || r.Held() > 1<<20+2*readerMaxBuffer {
		t.Errorf("a value of 1 MiB holds %d bytes", r.Held())
	}
	for range readerCalm + 1 {
		send("PING\r\n")
		next()
	}
	if r.Held() > readerMaxBuffer {
		t.Errorf("after small commands %d bytes are held", r.Held())
	}
	r.Trim()
	if r.Held() != 0 {
		t.Errorf("after Trim %d bytes are held", r.Held())
	}
	send("PING\r\n")
	next()
}
