package primarybackup

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, backups int) (*Cluster, *Client) {
	t.Helper()
	c, err := Open(t.Context(), backups)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	client, err := Dial(t.Context(), c.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return c, client
}

// An acknowledged write is in every copy at once, whoever wrote beside it.
func TestAcknowledgedIsEverywhere(t *testing.T) {
	c, client := open(t, 2)
	var wg sync.WaitGroup
	for caller := range 64 {
		wg.Go(func() {
			for i := range 50 {
				key := fmt.Appendf(nil, "%d-%d", caller, i)
				value := bytes.Repeat(key, 10)
				if err := client.Write(t.Context(), key, value); err != nil {
					t.Error(err)
					return
				}
				for i, got := range c.Copies(key) {
					if !bytes.Equal(got, value) {
						t.Errorf("copy %d of %s is %q right after its acknowledgement", i, key, got)
					}
				}
			}
		})
	}
	wg.Wait()
}

// The largest writes and keys fit, alone and in a batch with others.
func TestLargest(t *testing.T) {
	c, client := open(t, 1)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			key := bytes.Repeat([]byte{byte('a' + i)}, keyMax)
			value := bytes.Repeat([]byte{byte(i)}, valueMax)
			if err := client.Write(t.Context(), key, value); err != nil {
				t.Error(err)
			}
			for _, got := range c.Copies(key) {
				if !bytes.Equal(got, value) {
					t.Errorf("a copy has %d bytes, want %d", len(got), len(value))
				}
			}
		})
	}
	wg.Wait()
	if err := client.Write(t.Context(), []byte("k"), make([]byte, valueMax+1)); err == nil {
		t.Error("a value above the limit was taken")
	}
}

// When a backup is gone, no write is acknowledged any more, and callers learn it
// at once.
func TestLostBackup(t *testing.T) {
	c, client := open(t, 2)
	if err := client.Write(t.Context(), []byte("a"), []byte("1")); err != nil {
		t.Fatal(err)
	}
	if err := c.backups[1].server.close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for range 2 {
		err := client.Write(ctx, []byte("a"), []byte("2"))
		if err == nil || !strings.Contains(err.Error(), "backup") {
			t.Fatalf("write without a backup: %v", err)
		}
	}
	if got := c.Copies([]byte("a"))[0]; string(got) != "1" {
		t.Errorf("the primary has %q, which was not acknowledged", got)
	}
}

// Closing ends callers that wait, and is safe twice.
func TestCloseEndsCallers(t *testing.T) {
	c, client := open(t, 1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for client.Write(t.Context(), []byte("k"), []byte("v")) == nil {
			}
		})
	}
	time.Sleep(10 * time.Millisecond) // some are in the middle of it
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}

// A batch is bounded by count and bytes, and reads back as it was written.
func TestBatch(t *testing.T) {
	var b batch
	for i := range batchWrites {
		room := b.take(write{key: fmt.Appendf(nil, "k%d", i), value: []byte("v")})
		if want := i < batchWrites-1; room != want {
			t.Fatalf("room after %d writes: %v", i+1, room)
		}
	}
	i := 0
	err := eachWrite(b.append(nil), func(key, value []byte) {
		if want := fmt.Sprintf("k%d", i); string(key) != want || string(value) != "v" {
			t.Errorf("write %d is %q = %q", i, key, value)
		}
		i++
	})
	if err != nil || i != batchWrites {
		t.Errorf("%d writes, %v", i, err)
	}
	b.reset()
	if b.take(write{value: make([]byte, batchBytes)}) {
		t.Error("room behind a full batch")
	}
}

// Whatever bytes a batch consists of, decoding them ends, in order and within
// bounds.
func FuzzBatch(f *testing.F) {
	b := batch{writes: []write{{key: []byte("k"), value: []byte("v")}, {key: []byte("l")}}}
	f.Add(b.append(nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 'k', 1, 'v'})
	f.Fuzz(func(t *testing.T, body []byte) {
		var again batch
		err := eachWrite(body, func(key, value []byte) {
			if len(key) > keyMax || len(value) > valueMax {
				t.Fatalf("%d and %d bytes", len(key), len(value))
			}
			again.take(write{key: key, value: value})
		})
		if err != nil {
			return
		}
		var third batch
		if err := eachWrite(again.append(nil), func(k, v []byte) { third.take(write{key: k, value: v}) }); err != nil {
			t.Fatal(err)
		}
		if len(third.writes) != len(again.writes) {
			t.Fatalf("%d writes became %d", len(again.writes), len(third.writes))
		}
	})
}

// What a write costs, by how many wait at once.
func BenchmarkWrite(b *testing.B) {
	for _, callers := range []int{1, 64, 1024} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			c, err := Open(b.Context(), 2)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			client, err := Dial(b.Context(), c.Addr())
			if err != nil {
				b.Fatal(err)
			}
			defer client.Close()
			value := make([]byte, 100)
			var wg sync.WaitGroup
			turns := make(chan int, callers)
			for range callers {
				wg.Go(func() {
					for n := range turns {
						if err := client.Write(b.Context(), fmt.Appendf(nil, "key%013d", n%100_000), value); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ResetTimer()
			for n := range b.N {
				turns <- n
			}
			close(turns)
			wg.Wait()
		})
	}
}
