package workload_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/spacegrid/spacegrid/internal/chaos/workload"
	"github.com/spacegrid/spacegrid/internal/check"
)

// What any number of clients record is read again as it was, numbered by line, and a
// last line that a crash has torn is left out.
func TestHistoryIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	h, file, err := workload.CreateHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for range 50 {
				op := &workload.Op{
					Client: string(rune('a' + i)), Kind: "put", Key: "k\n\"ü", Value: "v", Call: h.Now(), Door: workload.DoorGo,
					Outcome: check.Refused, Token: &check.Token{Epoch: 1, Number: 2}, Rows: []workload.Row{{Key: "r", Number: -1}},
				}
				op.Return = h.Now()
				if err := h.Record(op); err != nil {
					t.Error(err)
				}
			}
		})
	}
	clients.Wait()
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, tail := range []string{"", `{"n":401,"client":"a","kind":"put"`, "{"} {
		again, err := workload.ReadHistory(strings.NewReader(string(b) + tail))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(again.Ops(), h.Ops()) || again.Len() != 400 {
			t.Errorf("with %q behind it: %d lines, not as they were recorded", tail, again.Len())
		}
	}
	if _, _, err := workload.CreateHistory(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second history in the same file: %v", err)
	}
}

// A history that is half understood is not judged: every line has to be one, whole,
// in its place and with the fields that are known.
func TestHistoryThatDoesNotRead(t *testing.T) {
	for name, text := range map[string]string{
		"another number": `{"n":2,"client":"a","kind":"put","call_ns":1,"return_ns":2,"outcome":"done","member":0}`,
		"no JSON":        `put`,
		"an empty line":  ``,
		"another field":  `{"n":1,"client":"a","kind":"put","call_ns":1,"return_ns":2,"outcome":"done","member":0,"mood":"good"}`,
		"no outcome":     `{"n":1,"client":"a","kind":"put","call_ns":1,"return_ns":2,"outcome":"maybe","member":0}`,
		"no kind":        `{"n":1,"client":"a","call_ns":1,"return_ns":2,"outcome":"done","member":0}`,
		"time goes back": `{"n":1,"client":"a","kind":"put","call_ns":3,"return_ns":2,"outcome":"done","member":0}`,
		"two values":     `{"n":1,"client":"a","kind":"put","call_ns":1,"return_ns":2,"outcome":"done","member":0} {}`,
		"too long":       `{"n":1,"client":"` + strings.Repeat("a", 5<<20),
	} {
		if _, err := workload.ReadHistory(strings.NewReader(text + "\n")); err == nil {
			t.Errorf("%s: it reads", name)
		}
	}
}

// A history that cannot be written ends the run: what is not recorded cannot be
// judged.
func TestHistoryThatCannotBeWritten(t *testing.T) {
	full := errors.New("no space left")
	h := workload.NewHistory(writer(func([]byte) (int, error) { return 0, full }))
	for range 2 {
		if err := h.Record(&workload.Op{Client: "a", Kind: "put"}); !errors.Is(err, full) {
			t.Errorf("recorded: %v", err)
		}
	}
	if h.Len() != 0 {
		t.Error("a line is there that was not written")
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(b []byte) (int, error) { return w(b) }

// Whatever a file holds, reading it ends, and what reads is written as it was read
// and can be judged as a history of any workload.
func FuzzReadHistory(f *testing.F) {
	for _, seed := range []string{
		`{"n":1,"client":"a","kind":"put","key":"k","value":"v","call_ns":1,"return_ns":2,"outcome":"done","member":0,"door":"go"}` + "\n" +
			`{"n":2,"client":"a","kind":"get","key":"k","got":"w","call_ns":3,"return_ns":4,"outcome":"unknown","member":-1,"door":"resp"}` + "\n",
		`{"n":1,"client":"w","kind":"watch","call_ns":1,"return_ns":1,"outcome":"done","member":0,"at":5}` + "\n" +
			`{"n":2,"client":"w","kind":"updated","key":"k","value":"v","version":3,"previous":2,"partition":1,"call_ns":1,"return_ns":1,"outcome":"done","member":0}` + "\n",
		`{"n":1,"client":"a","kind":"ack","key":"g","at":7,"token":{"epoch":1,"number":2},"rows":[{"key":"k","number":3}],"call_ns":1,"return_ns":2,"outcome":"refused","member":0}` + "\n",
		`{"n":1,"client":"a","kind":"txn","lists":[{"key":"l","append":1,"read":[2,2]}],"call_ns":1,"return_ns":2,"outcome":"done","member":0}` + "\n{",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		h, err := workload.ReadHistory(bytes.NewReader(text))
		if err != nil {
			return
		}
		var again bytes.Buffer
		second := workload.NewHistory(&again)
		for _, op := range h.Ops() {
			same := *op
			if err := second.Record(&same); err != nil {
				t.Fatal(err)
			}
		}
		third, err := workload.ReadHistory(bytes.NewReader(again.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		var more bytes.Buffer
		fourth := workload.NewHistory(&more)
		for _, op := range third.Ops() {
			if err := fourth.Record(op); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(again.Bytes(), more.Bytes()) {
			t.Error("it reads otherwise the second time")
		}
		for _, w := range workload.All() {
			w.Judge(h)
		}
	})
}
