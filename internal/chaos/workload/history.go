package workload

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/internal/check"
)

const (
	// maxHistory and maxHistoryBytes bound the lines of a history, and with them
	// the memory of a run and of whoever judges it.
	maxHistory      = 1_000_000
	maxHistoryBytes = 512 << 20
	// maxLine bounds a line that is read: far above what the largest answer of a
	// workload takes.
	maxLine = 4 << 20
)

// ErrHistoryFull is returned when a history has as many lines as it may. A run ends
// there.
var ErrHistoryFull = errors.New("workload: the history is full (make the run shorter, or its rate lower)")

// Op is one line of a history: an operation with its answer, or something that a
// client noted for itself. What the fields mean beyond their comments is said by the
// workload.
type Op struct {
	N      int    `json:"n"`      // the line, from 1
	Client string `json:"client"` // a logical process: it never has two operations at once
	Kind   string `json:"kind"`
	Key    string `json:"key,omitempty"`
	// Value and Expect are arguments: what is written, and what must be there for
	// that; Number is one that counts.
	Value  string `json:"value,omitempty"`
	Expect string `json:"expect,omitempty"`
	Number int64  `json:"number,omitempty"`
	// Got and Rows are answers: one value, or many.
	Got  string `json:"got,omitempty"`
	Rows []Row  `json:"rows,omitempty"`
	// Lists are what a transaction is about, with what it read.
	Lists []ListPart `json:"lists,omitempty"`
	// Version is that of the entry that was written, read, or changed; of an event
	// the number of the change, and Previous the version before.
	Version   uint64       `json:"version,omitempty"`
	Previous  uint64       `json:"previous,omitempty"`
	Partition int          `json:"partition,omitempty"`
	Token     *check.Token `json:"token,omitempty"`
	// At is a line that this one refers to.
	At int `json:"at,omitempty"`

	// Call and Return are nanoseconds since the beginning of the history, on a
	// clock that only goes forward. An operation without an answer returned when
	// its client gave it up.
	Call    int64         `json:"call_ns"`
	Return  int64         `json:"return_ns"`
	Outcome check.Outcome `json:"outcome"`
	Member  int           `json:"member"` // that was asked, -1 if the client did not choose
	Door    string        `json:"door,omitempty"`
	Error   string        `json:"error,omitempty"`
	// Hung says that the call did not come back although its time was up long ago.
	Hung bool `json:"hung,omitempty"`
	// Bad says what was wrong with the answer by itself.
	Bad string `json:"bad,omitempty"`
}

// Row is one entry of an answer.
type Row struct {
	Key     string `json:"key"`
	Value   string `json:"value,omitempty"`
	Number  int64  `json:"number,omitempty"`
	Version uint64 `json:"version,omitempty"`
}

// ListPart is what a transaction does with one list: it reads it, and appends an
// element unless that is 0.
type ListPart struct {
	Key    string  `json:"key"`
	Append int64   `json:"append,omitempty"`
	Read   []int64 `json:"read,omitempty"`
}

// Note reports whether the line is no operation: it has no outcome of its own.
func (o *Op) Note() bool { return o.Door == "" }

// History is an append-only list of operations. Record may be called concurrently;
// the rest is for when nobody records any more.
type History struct {
	start time.Time
	mark  string

	mu    sync.Mutex
	out   io.Writer // nil: it was read, or is not kept
	bytes int       // written to out
	ops   []*Op
	err   error // of out; the first one stays
}

// NewHistory begins a history, whose lines go to out, one write each, if it is not
// nil. The caller closes what is behind out.
func NewHistory(out io.Writer) *History {
	return &History{start: time.Now(), mark: strconv.FormatUint(rand.Uint64()>>24, 36), out: out}
}

// CreateHistory begins a history in a file that must not exist. The file is for the
// caller to close.
func CreateHistory(path string) (*History, io.Closer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, err
	}
	return NewHistory(f), f, nil
}

// Mark is a word that no other history has, for keys that nobody else uses.
func (h *History) Mark() string { return h.mark }

// Now returns the time on the history's clock.
func (h *History) Now() int64 { return time.Since(h.start).Nanoseconds() }

// Record appends a line and numbers it. The line is in the system's hands when
// Record returns. The history keeps op.
func (h *History) Record(op *Op) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	if len(h.ops) >= maxHistory || h.bytes >= maxHistoryBytes {
		return ErrHistoryFull
	}
	op.N = len(h.ops) + 1
	if h.out != nil {
		line, err := json.Marshal(op)
		if err != nil {
			return fmt.Errorf("workload: line %d: %w", op.N, err)
		}
		h.bytes += len(line) + 1
		if _, err := h.out.Write(append(line, '\n')); err != nil {
			h.err = fmt.Errorf("workload: write the history: %w", err)
			return h.err
		}
	}
	h.ops = append(h.ops, op)
	return nil
}

// Len returns the number of lines.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.ops)
}

// Ops returns the lines, in order. They must not be changed.
func (h *History) Ops() []*Op {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ops[:len(h.ops):len(h.ops)]
}

// ReadHistory reads what Record has written. A last line without an end is left
// out: a crash tore it, and its client did nothing after it. Whatever else does not
// read is an error.
func ReadHistory(in io.Reader) (*History, error) {
	h := NewHistory(nil)
	lines := bufio.NewReaderSize(in, 64<<10)
	for {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			return h, nil
		}
		if err != nil {
			return nil, fmt.Errorf("workload: history, line %d: %w", len(h.ops)+1, err)
		}
		op, err := decodeOp(line)
		if err == nil && op.N != len(h.ops)+1 {
			err = fmt.Errorf("it says that it is line %d", op.N)
		}
		if err == nil && len(h.ops) >= maxHistory {
			err = ErrHistoryFull
		}
		if err != nil {
			return nil, fmt.Errorf("workload: history, line %d: %w", len(h.ops)+1, err)
		}
		h.ops = append(h.ops, op)
	}
}

// readLine returns a line without its end, which must be there.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if len(line)+len(part) > maxLine {
			return nil, errors.New("it is too long")
		}
		line = append(line, part...)
		if err == nil {
			return line[:len(line)-1], nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// decodeOp reads one line. Fields that nobody knows are an error: a history that is
// half understood is not judged.
func decodeOp(line []byte) (*Op, error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	op := &Op{}
	if err := d.Decode(op); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("there is more than one value on it")
	}
	switch {
	case op.Kind == "" || op.Client == "":
		return nil, errors.New("it has no client or no kind")
	case op.Return < op.Call:
		return nil, fmt.Errorf("it returned at %d and was called at %d", op.Return, op.Call)
	case strings.Contains(op.Client, "\n"):
		return nil, errors.New("its client has a line end")
	}
	return op, nil
}

// of returns the lines of some kinds, in order.
func (h *History) of(kinds ...string) func(func(*Op) bool) {
	return func(yield func(*Op) bool) {
		for _, op := range h.Ops() {
			for _, k := range kinds {
				if op.Kind == k && !yield(op) {
					return
				}
			}
		}
	}
}
