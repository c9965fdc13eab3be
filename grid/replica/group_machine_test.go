package replica_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/spacegrid/spacegrid/grid/replica"
)

// registers is a state machine of named registers. The command "name=value"
// sets one; the reply is what it held before.
type registers struct {
	mu      sync.Mutex
	values  map[string]string
	digest  uint64 // of all commands in order, so that it tells any two histories apart
	index   uint64
	entries int // since the start, which a snapshot does not carry
	// saw is told the digest after every entry; nil ignores.
	saw func(index, digest uint64)
	// unreadable is what Restore returns, if set.
	unreadable error
}

func newRegisters() *registers { return &registers{values: map[string]string{}} }

// note reports how far the state is.
func (r *registers) note() {
	if r.saw != nil {
		r.saw(r.index, r.digest)
	}
}

func (r *registers) Apply(index uint64, commands [][]byte) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if index <= r.index {
		panic(fmt.Sprintf("index %d applied after %d", index, r.index))
	}
	r.index = index
	r.entries++
	replies := make([][]byte, len(commands))
	for i, c := range commands {
		name, value, _ := strings.Cut(string(c), "=")
		replies[i] = []byte(r.values[name])
		r.values[name] = value
		h := fnv.New64a()
		h.Write(binary.BigEndian.AppendUint64(nil, r.digest))
		h.Write(c)
		r.digest = h.Sum64()
	}
	r.note()
	return replies
}

func (r *registers) read(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.values[name]
}

// state returns how far the state is and its digest.
func (r *registers) state() (index, digest uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.index, r.digest
}

// carried returns how many entries were applied since the start.
func (r *registers) carried() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.entries
}

type registersImage []byte

func (r *registers) Image() (replica.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d %d\n", r.index, r.digest)
	for _, name := range slices.Sorted(maps.Keys(r.values)) {
		fmt.Fprintf(&b, "%s=%s\n", name, r.values[name])
	}
	return registersImage(b.Bytes()), nil
}

func (i registersImage) Export(w io.Writer) error {
	_, err := w.Write(i)
	return err
}

func (registersImage) Close() {}

func (r *registers) Restore(src io.Reader) error {
	if r.unreadable != nil {
		return r.unreadable
	}
	b, err := io.ReadAll(src)
	if err != nil {
		return err
	}
	head, rest, _ := strings.Cut(string(b), "\n")
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := fmt.Sscanf(head, "%d %d", &r.index, &r.digest); err != nil {
		return err
	}
	r.values = map[string]string{}
	for line := range strings.Lines(rest) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		r.values[name] = value
	}
	r.note()
	return nil
}
