package resp

import (
	"bytes"
	"testing"
	"testing/iotest"
)

// No input makes the Reader panic, spin, or use memory out of proportion, and
// cutting the input does not change what it means.
func FuzzReader(f *testing.F) {
	for _, seed := range []string{
		"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", "PING\r\n", "SET \"a\\x41\" 'b'\r\n", "*9223372036854775807\r\n", "*-1\r\n*0\r\n", "*1\r\n$-1\r\n",
		"*1048576\r\n$0\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01", "*1\r\n*1\r\n", "\r\n\n\r", "a \"b",
	} {
		f.Add([]byte(seed), true, false)
		f.Add([]byte(seed), false, true)
	}
	f.Fuzz(func(t *testing.T, stream []byte, authenticated, small bool) {
		limits := Limits{}
		if small {
			limits = tight
		}
		src := &pieces{pieces: [][]byte{stream}}
		if len(stream) == 0 {
			src.pieces = nil
		}
		r := NewReader(src, limits)
		r.SetAuthenticated(authenticated)
		for commands, calls := 0, 0; ; calls++ {
			batch, err := r.Next()
			if err != nil {
				break
			}
			commands += len(batch)
			if len(batch) == 0 || commands > len(stream) || calls > len(stream) {
				t.Fatalf("%d bytes gave %d commands in %d calls", len(stream), commands, calls)
			}
			for _, c := range batch {
				if len(c.Args) == 0 || c.Size() > len(stream) {
					t.Fatalf("command %q", c.Args)
				}
			}
		}
		if src.reads > len(stream)/readerMinBuffer+64 || r.Held() > 4*len(stream)+readerMinBuffer {
			t.Fatalf("%d bytes took %d reads and %d bytes of buffer", len(stream), src.reads, r.Held())
		}
		whole := transcript(bytes.NewReader(stream), authenticated, limits)
		if cut := transcript(iotest.OneByteReader(bytes.NewReader(stream)), authenticated, limits); cut != whole {
			t.Fatalf("byte by byte: %s\nat once: %s", cut, whole)
		}
	})
}

// No pattern makes the matcher panic or differ from the textbook.
func FuzzGlob(f *testing.F) {
	f.Add([]byte("h[^a-c]*l?o\\*"), []byte("hello*"))
	f.Add([]byte("[]"), []byte(""))
	f.Fuzz(func(t *testing.T, pattern, key []byte) {
		if bytes.Count(pattern, []byte("*")) > 3 || len(key) > 100 {
			return // beyond the patience of the textbook
		}
		if got, want := CompileGlob(pattern).Match(key), simpleMatch(pattern, key); got != want {
			t.Fatalf("%q and %q: %t, want %t", pattern, key, got, want)
		}
	})
}
