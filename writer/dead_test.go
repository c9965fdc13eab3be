package writer

import (
	"bytes"
	"testing"
	"time"

	"github.com/spacegrid/spacegrid/datapump"
	"github.com/spacegrid/spacegrid/grid/space"
)

// Whatever bytes a record of a letter has: it is refused, or it is written again
// as it was read.
func FuzzDecodeLetter(f *testing.F) {
	c := space.Change{Seq: 9, Op: space.Written, Space: 1, Key: []byte("k"), Value: []byte("v")}
	f.Add(encodeLetter(&datapump.DeadLetter{Seq: 9, Reason: "no", Change: c.Append(nil), At: time.Unix(1, 0)}))
	f.Add(encodeLetter(&datapump.DeadLetter{Seq: 9, Parked: true, Reason: "waits", Change: c.Append(nil)}))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, ok := decodeLetter(9, b)
		if !ok {
			return
		}
		again, ok := decodeLetter(9, encodeLetter(&l))
		if !ok || again.Reason != l.Reason || again.Parked != l.Parked || !bytes.Equal(again.Change, l.Change) || !again.At.Equal(l.At) {
			t.Fatalf("%x reads as %+v, and then as %+v, %v", b, l, again, ok)
		}
	})
}
