package msgp

// Place is where a path leads in a canonical map: the value that is there, or
// the room for one. Its methods append the whole map with that value changed.
//
// Only the counts of containers are written into a map, not their sizes in
// bytes. An edit therefore touches two spots at most, whatever the depth: the
// value itself, and the count of the container that holds it. All else is
// copied as it is.
//
// A Place refers to the map and to the path it was made from and holds as long
// as they do not change. Its methods may be called any number of times.
type Place struct {
	m []byte

	// The container that holds the value or, if the path is not all there, the
	// last one on the way: where its head and its first child lie, and how many
	// children (pairs of a map) it has.
	kind         Kind
	header, body int
	count        int

	// m[from:end] is the pair or element of the value, m[at:end] the value
	// alone. All three say where the pair would be if there is none.
	from, at, end int
	found         bool

	// What to make if there is none: the pair of this name, or if null there is
	// one, which holds nil; and in it maps with the names of path.
	null bool
	name string
	path []string

	outer int // containers that enclose the value
}

// Locate follows name and then path from the canonical map m. A step names a
// field of a map, or in an array a position: decimal text, from 0. It fails with
// ErrType at a value that has no such children, with ErrRange at a position that
// the array does not have, and with ErrTooDeep if the path is longer than values
// are deep. A field that is not there is no failure: what the path leads to is
// absent, and so are all the names behind it.
func Locate(m []byte, name string, path []string) (Place, error) {
	p := Place{m: m, outer: 1 + len(path)}
	if p.outer > MaxDepth {
		return Place{}, failAt(0, ErrTooDeep)
	}
	step := name
	for i := 0; ; i++ {
		if err := p.enter(p.at, step); err != nil {
			return Place{}, err
		}
		if !p.found {
			p.name, p.path = step, path[i:]
			return p, nil
		}
		if i == len(path) {
			return p, nil
		}
		if KindOf(m[p.at:]) == Nil {
			p.found, p.null, p.path = false, true, path[i:]
			return p, nil
		}
		step = path[i]
	}
}

// enter makes the container at m[pos] the one that p lies in.
func (p *Place) enter(pos int, step string) error {
	h, err := readHead(p.m, pos)
	if err != nil {
		return err
	}
	p.kind, p.header, p.body, p.count = h.kind, pos, h.end, h.items
	switch h.kind {
	case Map:
		p.count /= 2
		return p.enterMap(step)
	case Array:
		return p.enterArray(step)
	}
	return failAt(pos, ErrType)
}

func (p *Place) enterMap(name string) error {
	var room [64]byte
	key := AppendString(room[:0], name)
	f := fields{m: p.m, pos: p.body, left: p.count}
	from, found, err := f.find(key)
	if err != nil {
		return err
	}
	p.from, p.at, p.end, p.found = from, from, from, found
	if found {
		p.at, p.end = from+len(key), f.pos
	}
	return nil
}

func (p *Place) enterArray(step string) error {
	n, ok := position(step)
	switch {
	case !ok:
		return failAt(p.header, ErrType)
	case n >= p.count:
		return failAt(p.header, ErrRange)
	}
	at := p.body
	for range n {
		at = after(p.m, at)
	}
	p.from, p.at, p.end, p.found = at, at, after(p.m, at), true
	if p.end > len(p.m) {
		return failAt(p.header, ErrTruncated)
	}
	return nil
}

// position reads a position as it is written in a path: no sign, no leading zero.
func position(step string) (int, bool) {
	const digits = 7 // of MaxValue
	if len(step) == 0 || len(step) > digits || len(step) > 1 && step[0] == '0' {
		return 0, false
	}
	n := 0
	for _, c := range []byte(step) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}

// Value returns the bytes that encode the value, a sub-slice of the map, and
// whether there is one.
func (p *Place) Value() (value []byte, ok bool) {
	if !p.found {
		return nil, false
	}
	return p.m[p.at:p.end:p.end], true
}

// Set appends the map with value, one canonical value, in the place. Maps that
// the path names and that are not there are made. It fails with ErrTooDeep or
// ErrTooLarge if the map would be, or if value is malformed; dst is then
// returned as it was.
func (p *Place) Set(dst, value []byte) ([]byte, error) {
	if err := CheckIn(value, p.outer); err != nil {
		return dst, err
	}
	return p.put(dst, nil, value)
}

// SetText appends the map with a string or binary, as kind says, that consists
// of the given parts, otherwise as Set.
func (p *Place) SetText(dst []byte, kind Kind, parts ...[]byte) ([]byte, error) {
	n := 0
	for _, b := range parts {
		if n += len(b); n > MaxValue {
			return dst, failAt(0, ErrTooLarge)
		}
	}
	var room [5]byte
	header := AppendStringHeader(room[:0], n)
	if kind == Bytes {
		header = appendBytesHeader(room[:0], n)
	}
	return p.put(dst, header, parts...)
}

// Unset appends the map without the value and its name, or without the element,
// so that those behind it move up. If there is none the map stays as it is.
func (p *Place) Unset(dst []byte) []byte {
	if !p.found {
		return append(dst, p.m...)
	}
	dst = append(dst, p.m[:p.header]...)
	dst = p.appendHeader(dst, p.count-1)
	dst = append(dst, p.m[p.body:p.from]...)
	return append(dst, p.m[p.end:]...)
}

// put appends the map with the value that head and parts make up.
func (p *Place) put(dst, head []byte, parts ...[]byte) ([]byte, error) {
	out := dst
	if p.found || p.null {
		out = append(out, p.m[:p.at]...)
	} else {
		// Only maps lack a value: a position that is not there is an error.
		out = append(out, p.m[:p.header]...)
		out = p.appendHeader(out, p.count+1)
		out = append(out, p.m[p.body:p.from]...)
		out = AppendString(out, p.name)
	}
	for _, name := range p.path {
		out = AppendString(AppendMapHeader(out, 1), name)
	}
	out = append(out, head...)
	for _, b := range parts {
		out = append(out, b...)
	}
	out = append(out, p.m[p.end:]...)
	if len(out)-len(dst) > MaxValue {
		return dst, failAt(0, ErrTooLarge)
	}
	return out, nil
}

func (p *Place) appendHeader(dst []byte, count int) []byte {
	if p.kind == Array {
		return AppendArrayHeader(dst, count)
	}
	return AppendMapHeader(dst, count)
}

// CheckIn is [Check] for a value that outer containers are to enclose: it may
// nest so much less deep.
func CheckIn(b []byte, outer int) error {
	if outer > MaxDepth {
		return failAt(0, ErrTooDeep)
	}
	end, err := scan(b, 0, outer)
	if err != nil {
		return err
	}
	if end != len(b) {
		return failAt(end, ErrTrailing)
	}
	return nil
}
