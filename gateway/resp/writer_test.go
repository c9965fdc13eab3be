package resp

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
)

// Every reply has its exact bytes in both protocol versions.
func TestWriterEncodes(t *testing.T) {
	for _, test := range []struct {
		name         string
		write        func(w *Writer)
		resp2, resp3 string
	}{
		{"ok", (*Writer).OK, "+OK\r\n", ""},
		{"status", func(w *Writer) { w.Status("QUEUED") }, "+QUEUED\r\n", ""},
		{"error", func(w *Writer) { w.Error("ERR no such key") }, "-ERR no such key\r\n", ""},
		{"error with line ends", func(w *Writer) { w.Error("ERR 'a\r\n+OK'") }, "-ERR 'a  +OK'\r\n", ""},
		{"status with line ends", func(w *Writer) { w.Status("a\n") }, "+a \r\n", ""},
		{"zero", func(w *Writer) { w.Int(0) }, ":0\r\n", ""},
		{"nine", func(w *Writer) { w.Int(9) }, ":9\r\n", ""},
		{"ten", func(w *Writer) { w.Int(10) }, ":10\r\n", ""},
		{"minus one", func(w *Writer) { w.Int(-1) }, ":-1\r\n", ""},
		{"least", func(w *Writer) { w.Int(math.MinInt64) }, ":-9223372036854775808\r\n", ""},
		{"bulk", func(w *Writer) { w.Bulk([]byte("a\r\nb")) }, "$4\r\na\r\nb\r\n", ""},
		{"empty bulk", func(w *Writer) { w.Bulk(nil) }, "$0\r\n\r\n", ""},
		{"bulk of a string", func(w *Writer) { w.BulkString("hello") }, "$5\r\nhello\r\n", ""},
		{"null", (*Writer).Null, "$-1\r\n", "_\r\n"},
		{"null array", (*Writer).NullArray, "*-1\r\n", "_\r\n"},
		{"array", func(w *Writer) { w.Array(2); w.Int(1); w.Null() }, "*2\r\n:1\r\n$-1\r\n", "*2\r\n:1\r\n_\r\n"},
		{"empty array", func(w *Writer) { w.Array(0) }, "*0\r\n", ""},
		{"map", func(w *Writer) { w.Map(1); w.BulkString("k"); w.Int(1) }, "*2\r\n$1\r\nk\r\n:1\r\n", "%1\r\n$1\r\nk\r\n:1\r\n"},
		{"set", func(w *Writer) { w.Set(1); w.Int(1) }, "*1\r\n:1\r\n", "~1\r\n:1\r\n"},
		{"push", func(w *Writer) { w.Push(1); w.Int(1) }, "*1\r\n:1\r\n", ">1\r\n:1\r\n"},
		{"double", func(w *Writer) { w.Double(3.1) }, "$3\r\n3.1\r\n", ",3.1\r\n"},
		{"whole double", func(w *Writer) { w.Double(10) }, "$2\r\n10\r\n", ",10\r\n"},
		{"infinity", func(w *Writer) { w.Double(math.Inf(1)) }, "$3\r\ninf\r\n", ",inf\r\n"},
		{"minus infinity", func(w *Writer) { w.Double(math.Inf(-1)) }, "$4\r\n-inf\r\n", ",-inf\r\n"},
		{"not a number", func(w *Writer) { w.Double(math.NaN()) }, "$3\r\nnan\r\n", ",nan\r\n"},
		{"true", func(w *Writer) { w.Bool(true) }, ":1\r\n", "#t\r\n"},
		{"false", func(w *Writer) { w.Bool(false) }, ":0\r\n", "#f\r\n"},
		{"big number", func(w *Writer) { w.BigNumber("12345678901234567890") }, "$20\r\n12345678901234567890\r\n", "(12345678901234567890\r\n"},
		{"verbatim", func(w *Writer) { w.Verbatim("txt", "a\nb") }, "$3\r\na\nb\r\n", "=7\r\ntxt:a\nb\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.resp3 == "" {
				test.resp3 = test.resp2
			}
			for proto, want := range map[int]string{2: test.resp2, 3: test.resp3} {
				var out bytes.Buffer
				w := NewWriter(&out)
				w.SetProto(proto)
				test.write(w)
				if err := w.Flush(); err != nil || out.String() != want {
					t.Errorf("RESP%d: %q, %v; want %q", proto, out.String(), err, want)
				}
				if _, complete := w.Replies(); !complete {
					t.Errorf("RESP%d: the reply is not complete", proto)
				}
			}
		})
	}
}

// An error text is cut between characters.
func TestWriterCutsErrorTexts(t *testing.T) {
	for size, want := range map[int]int{writerErrorText: writerErrorText, writerErrorText + 1: writerErrorText - 1} {
		var out bytes.Buffer
		w := NewWriter(&out)
		w.Error(strings.Repeat("a", size-2) + "é" + "tail")
		_ = w.Flush()
		if got := out.Len() - len("-\r\n"); got != want {
			t.Errorf("a character that ends at %d leaves %d bytes, want %d", size, got, want)
		}
	}
}

// The Writer knows where replies end, whatever is nested in them.
func TestWriterCountsReplies(t *testing.T) {
	w := NewWriter(&bytes.Buffer{})
	check := func(wantMade int, wantComplete bool) {
		t.Helper()
		if made, complete := w.Replies(); made != wantMade || complete != wantComplete {
			t.Fatalf("%d replies, complete: %t; want %d, %t", made, complete, wantMade, wantComplete)
		}
	}
	w.Array(2)
	check(1, false)
	w.Map(1)
	w.BulkString("k")
	w.Array(0)
	check(1, false)
	w.Int(1)
	check(1, true)
	w.OK()
	check(2, true)
	w.Push(1)
	w.Int(1)
	check(2, true)
	w.Begin()
	check(0, true)
}

// maxWrite records the largest write.
type maxWrite struct{ total, largest int }

func (m *maxWrite) Write(b []byte) (int, error) {
	m.total += len(b)
	m.largest = max(m.largest, len(b))
	return len(b), nil
}

// However long a reply, what is held for it is bounded.
func TestWriterHoldsLittle(t *testing.T) {
	dst := &maxWrite{}
	w := NewWriter(dst)
	value := bytes.Repeat([]byte("v"), 1<<20)
	w.Array(2 + 1_000_000)
	w.Bulk(value)
	w.BulkString(string(value))
	for range 1_000_000 {
		w.Int(1)
	}
	_ = w.Flush()
	if want := len("*1000002\r\n") + 2*(len("$1048576\r\n\r\n")+1<<20) + 4_000_000; dst.total != want {
		t.Errorf("%d bytes written, want %d", dst.total, want)
	}
	if w.Held() > 2*writerFlush {
		t.Errorf("%d bytes held", w.Held())
	}
	w.Trim()
	if w.Held() > writerKeep {
		t.Errorf("%d bytes held after Trim", w.Held())
	}
}

type failingWriter struct{ writes int }

var errBroken = errors.New("broken")

func (f *failingWriter) Write([]byte) (int, error) { f.writes++; return 0, errBroken }

// After a failed write nothing more is written or gathered, and the error stays.
func TestWriterRemembersFailure(t *testing.T) {
	dst := &failingWriter{}
	w := NewWriter(dst)
	for range 100_000 {
		w.BulkString("some value")
	}
	if err := w.Flush(); !errors.Is(err, errBroken) || !errors.Is(w.Err(), errBroken) {
		t.Errorf("got %v", err)
	}
	if dst.writes != 1 || w.Held() > 2*writerFlush {
		t.Errorf("%d writes, %d bytes held", dst.writes, w.Held())
	}
}
