package bench

import (
	"fmt"
	"math/rand/v2"
)

const (
	// keySizeMin leaves room for the letter and enough digits to tell keys apart.
	keySizeMin = 8
	// keySizeMax and valueSizeMax are what an entry may have.
	keySizeMax   = 1024
	valueSizeMax = 1 << 20
	// keysMax bounds what a run can make a server hold.
	keysMax = 100_000_000
	// valuePool is how many bytes of noise values are cut from: enough that a
	// server that compresses or shares equal values gains nothing.
	valuePool = 1 << 20
)

// Workload says which operations are carried out. A zero field means its
// default.
type Workload struct {
	// Keys is how many different keys there are. Default 100,000.
	Keys int `json:"keys"`
	// KeySize is the length of a key in bytes. Default 16.
	KeySize int `json:"key_bytes"`
	// ValueSize is the length of a value in bytes. Default 100.
	ValueSize int `json:"value_bytes"`
	// Reads is the share of operations that read, from 0 to 1; the others write.
	Reads float64 `json:"reads"`
	// Zipf is how skewed the choice of keys is: the exponent of a Zipf
	// distribution, above 1. Default 0, every key equally often.
	Zipf float64 `json:"zipf"`
}

func (w Workload) withDefaults() Workload {
	orDefault(&w.Keys, 100_000)
	orDefault(&w.KeySize, 16)
	orDefault(&w.ValueSize, 100)
	return w
}

// orDefault sets a field that is zero.
func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate reports the first setting that cannot be, of a Workload with its
// defaults.
func (w Workload) validate() error {
	switch {
	case w.Keys < 1 || w.Keys > keysMax:
		return fmt.Errorf("bench: %d keys (give 1 to %d)", w.Keys, keysMax)
	case w.KeySize < keySizeMin || w.KeySize > keySizeMax:
		return fmt.Errorf("bench: keys of %d bytes (give %d to %d)", w.KeySize, keySizeMin, keySizeMax)
	case digits(w.Keys-1) >= w.KeySize:
		return fmt.Errorf("bench: %d keys do not differ in %d bytes (give longer keys)", w.Keys, w.KeySize)
	case w.ValueSize < 1 || w.ValueSize > valueSizeMax:
		return fmt.Errorf("bench: values of %d bytes (give 1 to %d)", w.ValueSize, valueSizeMax)
	case !(w.Reads >= 0 && w.Reads <= 1):
		return fmt.Errorf("bench: a share of reads of %v (give 0 to 1)", w.Reads)
	case w.Zipf != 0 && !(w.Zipf > 1 && w.Zipf <= 10):
		return fmt.Errorf("bench: a Zipf exponent of %v (give 0 for uniform keys, or above 1 and at most 10)", w.Zipf)
	}
	return nil
}

func digits(n int) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

// Op is one operation: a read of Key, or a write of Value under it. A client
// must not keep its slices, nor change them, after Do has returned.
type Op struct {
	Read  bool
	Key   []byte
	Value []byte // of a read: what is expected to be found has this length
}

// source draws a client's operations. The same seed and client number give the
// same operations. It is used by one goroutine.
type source struct {
	w      Workload
	random *rand.Rand
	zipf   *rand.Zipf // nil: uniform
	pool   []byte     // shared by all clients, never changed
	ops    []Op       // reused by every draw, with the keys' memory
}

// newPool returns the bytes that the values of a run are cut from.
func newPool(w Workload, seed uint64) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	pool := make([]byte, valuePool+w.ValueSize)
	_, _ = rand.NewChaCha8(key).Read(pool) // it never fails
	return pool
}

// newSource returns the source of a client that asks for at most batch
// operations at a time.
func newSource(w Workload, seed uint64, client, batch int, pool []byte) *source {
	s := &source{w: w, random: rand.New(rand.NewPCG(seed, uint64(client))), pool: pool, ops: make([]Op, batch)}
	if w.Zipf != 0 {
		s.zipf = rand.NewZipf(s.random, w.Zipf, 1, uint64(w.Keys-1))
	}
	for i := range s.ops {
		s.ops[i].Key = make([]byte, w.KeySize)
	}
	return s
}

// next draws n operations, which are valid until the next draw.
func (s *source) next(n int) []Op {
	for i := range n {
		var key uint64
		if s.zipf != nil {
			key = s.zipf.Uint64()
		} else {
			key = s.random.Uint64N(uint64(s.w.Keys))
		}
		s.set(i, key, s.w.Reads > 0 && s.random.Float64() < s.w.Reads)
	}
	return s.ops[:n]
}

// fill makes writes of the keys from first on, for loading all of them.
func (s *source) fill(first, n int) []Op {
	for i := range n {
		s.set(i, uint64(first+i), false)
	}
	return s.ops[:n]
}

func (s *source) set(i int, key uint64, read bool) {
	op := &s.ops[i]
	op.Read = read
	at := s.random.IntN(valuePool)
	op.Value = s.pool[at : at+s.w.ValueSize]
	putKey(op.Key, key)
}

// putKey fills dst with the letter k and the number in decimal, zeros in front.
func putKey(dst []byte, n uint64) {
	for i := len(dst) - 1; i > 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	dst[0] = 'k'
}
