package resp

import (
	"bytes"
	"errors"
	"io"
)

const (
	// readerMinBuffer is what a new or idle connection holds for reading.
	readerMinBuffer = 4 << 10
	// readerMaxBuffer is what a busy pipeline grows to; a larger buffer exists
	// only while a command larger than this needs it.
	readerMaxBuffer = 64 << 10
	// readerMaxBatch bounds the commands of one batch, and with them the
	// replies that leave in one write.
	readerMaxBatch = 1024
	// readerKeepArgs is the most argument slots kept between batches (24 bytes each).
	readerKeepArgs = 8 << 10
	// readerCalm is how many reads must have got by with readerMaxBuffer
	// before a larger buffer is let go: a client that keeps sending large
	// values keeps its buffer.
	readerCalm = 16
	// readerEmptyReads is how often in a row a source may return nothing at all.
	readerEmptyReads = 100
)

// Reader cuts a byte stream into commands, RESP arrays and inline lines alike.
//
// Next returns every command that is complete in the buffer, so a pipeline
// costs one read and one write. The arguments are slices of the buffer: nothing
// is copied or allocated for a command that fits.
//
// The simple reader would parse from the start of a command each time more
// bytes come; a large value sent in small pieces would then cost the square of
// its size. This one remembers where it stopped: the arguments it has seen, the
// length it waits for, how far it has looked for a line end. Every byte is
// looked at once, moved at most once to the front of the buffer, and copied an
// amortised constant number of times as the buffer doubles. The buffer doubles
// only when it is full of received bytes; a declared length allocates nothing.
//
// Before authentication the smaller limits hold and a batch is one command, as
// that command may be the one that authenticates.
//
// A Reader is used by one goroutine.
type Reader struct {
	src           io.Reader
	limits        Limits
	authenticated bool

	buf        []byte
	head, tail int // buf[head:tail] is received and not yet returned

	// The command under way. Its offsets count from head, so they stay true
	// when its bytes move.
	pos     int    // the next byte to understand
	scanned int    // no line end between pos and here
	missing int    // arguments still to come; 0 between commands
	bulk    int    // length of the argument whose header was read, -1 if none
	spans   []span // arguments complete so far

	cmds []Command
	argv [][]byte // backing of the Args of cmds

	full  bool // the last read filled all the room there was
	calm  int  // reads since the buffer was last needed beyond readerMaxBuffer
	fault error
}

// span is one argument: its bytes lie from..to behind Reader.head.
type span struct{ from, to int }

// NewReader returns a Reader over src that has no buffer yet. It starts
// unauthenticated.
func NewReader(src io.Reader, limits Limits) *Reader {
	return &Reader{src: src, limits: limits.withDefaults(), bulk: -1}
}

// SetAuthenticated chooses the limits of the commands parsed from here on.
func (r *Reader) SetAuthenticated(yes bool) { r.authenticated = yes }

// Partial reports whether a command has begun but is not complete.
func (r *Reader) Partial() bool { return r.head < r.tail }

// Held returns the bytes of the buffer.
func (r *Reader) Held() int { return len(r.buf) }

// Trim gives the buffer back if no command has begun; the next read starts
// small. For a connection that has been idle.
func (r *Reader) Trim() {
	if r.Partial() {
		return
	}
	r.buf, r.head, r.tail = nil, 0, 0
	r.cmds, r.argv, r.spans = nil, nil, nil
}

// Next returns the next complete commands, at least one, reading from the
// source only if none is in the buffer already. It blocks as the source does.
// The commands and their bytes are valid until the next call of Next or Trim.
//
// A *ProtocolError is final and comes only after all commands before it have
// been returned. Errors of the source are returned as they are and are not
// remembered: after a timeout Next may be called again and goes on where it
// was. The end of the stream is io.EOF between commands and
// io.ErrUnexpectedEOF within one.
func (r *Reader) Next() ([]Command, error) {
	r.release()
	for empty := 0; ; {
		r.parse()
		if len(r.cmds) > 0 {
			return r.cmds, nil
		}
		if r.fault != nil {
			return nil, r.fault
		}
		n, err := r.fill()
		switch {
		case n > 0:
			// Whatever came with the bytes comes again with the next read.
			empty = 0
		case errors.Is(err, io.EOF) && r.Partial():
			return nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, err
		default:
			if empty++; empty == readerEmptyReads {
				return nil, io.ErrNoProgress
			}
		}
	}
}

// release forgets the commands of the last batch.
func (r *Reader) release() {
	r.cmds = r.cmds[:0]
	if cap(r.argv) > readerKeepArgs {
		r.argv = nil
	}
	if len(r.spans) == 0 && cap(r.spans) > readerKeepArgs {
		r.spans = nil
	}
	r.argv = r.argv[:0]
}

// fill reads once from the source.
func (r *Reader) fill() (int, error) {
	r.makeRoom()
	// A large buffer is filled only as far as its command needs and one
	// ordinary read beyond, so that what follows a large command cannot make
	// a batch as large as the command.
	room := r.buf[r.tail:]
	if most := max(r.need()-r.tail, 0) + readerMaxBuffer; len(room) > most {
		room = room[:most]
	}
	n, err := r.src.Read(room)
	r.tail += n
	r.full = n == len(room)
	return n, err
}

// need returns how many bytes the command under way is known to take; 0 if
// that is not known.
func (r *Reader) need() int {
	if r.bulk < 0 {
		return 0
	}
	return r.pos + r.bulk + len("\r\n")
}

// makeRoom moves the unread bytes to the front of the buffer and sees that
// there is room behind them.
func (r *Reader) makeRoom() {
	unread := r.buf[r.head:r.tail]
	size := len(r.buf)
	switch {
	case size == 0:
		size = readerMinBuffer
	case len(unread) == size:
		size *= 2
		if need := r.need(); need > len(r.buf) && need < size {
			size = (need + readerMinBuffer - 1) / readerMinBuffer * readerMinBuffer
		}
	case r.full && size < readerMaxBuffer:
		size *= 2
	}
	if size > readerMaxBuffer {
		r.calm++
		if max(len(unread), r.need()) > readerMaxBuffer/2 {
			r.calm = 0
		}
		if r.calm >= readerCalm {
			size = readerMaxBuffer
		}
	}
	to := r.buf
	if size != len(to) {
		to = make([]byte, size)
	}
	if r.head > 0 || size != len(r.buf) {
		copy(to, unread)
	}
	r.buf, r.head, r.tail = to, 0, len(unread)
}

// parse appends to cmds what is complete in the buffer, up to one batch.
func (r *Reader) parse() {
	most := readerMaxBatch
	if !r.authenticated {
		most = 1
	}
	for r.fault == nil && len(r.cmds) < most {
		complete, err := r.step()
		if err != nil {
			r.fault = err
			return
		}
		if !complete {
			return
		}
	}
}

// step goes on with the command under way and reports whether it is now
// complete.
func (r *Reader) step() (bool, error) {
	for r.missing == 0 {
		if r.head == r.tail {
			return false, nil
		}
		if r.buf[r.head] != '*' {
			complete, err := r.inline()
			if err != nil || complete {
				return complete, err
			}
			if r.pos > 0 { // an empty line, consumed
				r.consume()
				continue
			}
			return false, nil
		}
		count, ok, err := r.header("mbulk count", "multibulk length")
		if err != nil || !ok {
			return false, err
		}
		if err := r.checkArgs(count); err != nil {
			return false, err
		}
		if count <= 0 { // an empty array asks for nothing and is not answered
			r.consume()
			continue
		}
		r.missing = int(count)
	}
	return r.arguments()
}

// arguments reads the bulk strings of an array.
func (r *Reader) arguments() (bool, error) {
	for r.missing > 0 {
		if r.bulk < 0 {
			at := r.head + r.pos
			if at == r.tail {
				return false, nil
			}
			if c := r.buf[at]; c != '$' {
				return false, protocolError(BadFraming, "expected '$', got '%s'", printable(c))
			}
			size, ok, err := r.header("bulk count", "bulk length")
			if err != nil || !ok {
				return false, err
			}
			if err := r.checkBulk(size); err != nil {
				return false, err
			}
			r.bulk = int(size)
		}
		if r.tail-r.head < r.need() {
			return false, nil
		}
		end := r.pos + r.bulk
		if r.buf[r.head+end] != '\r' || r.buf[r.head+end+1] != '\n' {
			return false, protocolError(BadFraming, "expected CRLF behind a bulk of %d bytes", r.bulk)
		}
		r.spans = append(r.spans, span{r.pos, end})
		r.pos, r.bulk = end+len("\r\n"), -1
		r.scanned = r.pos
		r.missing--
	}
	r.emit()
	return true, nil
}

// header reads the line at pos, a type byte and a number, and moves behind it.
// It reports false if the line is not complete.
func (r *Reader) header(line, number string) (int64, bool, error) {
	start := r.head + r.pos
	if n, width := shortNumber(r.buf[start+1 : r.tail]); width > 0 {
		r.pos += 1 + width
		r.scanned = r.pos
		return n, true, nil
	}
	limit := r.lineLimit()
	end := min(r.tail, start+limit)
	from := max(r.head+r.scanned, start)
	i := bytes.IndexByte(r.buf[from:end], '\r')
	if i < 0 {
		r.scanned = end - r.head
		if end-start == limit {
			return 0, false, protocolError(TooLarge, "too big %s string", line)
		}
		return 0, false, nil
	}
	cr := from + i
	if cr+1 == r.tail {
		r.scanned = cr - r.head
		return 0, false, nil
	}
	n, ok := parseInt(r.buf[start+1 : cr])
	if !ok || r.buf[cr+1] != '\n' {
		return 0, false, protocolError(BadFraming, "invalid %s", number)
	}
	r.pos = cr + 2 - r.head
	r.scanned = r.pos
	return n, true, nil
}

// shortNumber reads what nearly every header is, a few digits and a line end
// that have all come. It returns the bytes they take, 0 if it is anything else.
func shortNumber(b []byte) (n int64, width int) {
	for i := range min(len(b)-1, shortestLine-len("$\r\n")+1) {
		switch c := b[i]; {
		case '0' <= c && c <= '9':
			n = n*10 + int64(c-'0')
		case c == '\r' && b[i+1] == '\n' && i > 0 && (i == 1 || b[0] != '0'):
			return n, i + len("\r\n")
		default:
			return 0, 0
		}
	}
	return 0, 0
}

func (r *Reader) checkArgs(count int64) error {
	switch {
	case count > int64(r.limits.Args):
		return protocolError(TooLarge, "invalid multibulk length")
	case !r.authenticated && count > int64(r.limits.PreAuthArgs):
		return protocolError(Unauthenticated, "unauthenticated multibulk length")
	}
	return nil
}

func (r *Reader) checkBulk(size int64) error {
	switch {
	case size < 0:
		return protocolError(BadFraming, "invalid bulk length")
	case size > int64(r.limits.Bulk):
		return protocolError(TooLarge, "invalid bulk length")
	case !r.authenticated && int64(r.pos)+size > int64(r.limits.PreAuthBulk):
		return protocolError(Unauthenticated, "unauthenticated bulk length")
	case int64(r.pos)+size > int64(r.limits.Request):
		return protocolError(TooLarge, "request larger than %d bytes", r.limits.Request)
	}
	return nil
}

// lineLimit returns the longest line, in bytes.
func (r *Reader) lineLimit() int {
	if r.authenticated {
		return r.limits.Inline
	}
	return min(r.limits.Inline, r.limits.PreAuthBulk)
}

// inline reads a command written as a line of words. For an empty line it
// moves pos and reports false.
func (r *Reader) inline() (bool, error) {
	if r.buf[r.head] == tlsHandshake {
		return false, errForeignProtocol
	}
	limit := r.lineLimit()
	end := min(r.tail, r.head+limit)
	i := bytes.IndexByte(r.buf[r.head+r.scanned:end], '\n')
	if i < 0 {
		r.scanned = end - r.head
		if r.scanned == limit {
			return false, protocolError(TooLarge, "too big inline request")
		}
		return false, nil
	}
	nl := r.scanned + i
	line := r.buf[r.head : r.head+nl]
	r.pos = nl + 1
	spans, ok := splitInline(r.spans, bytes.TrimSuffix(line, []byte("\r")))
	r.spans = spans
	switch {
	case !ok:
		return false, protocolError(BadQuotes, "unbalanced quotes in request")
	case len(spans) == 0:
		return false, nil
	case isHTTP(line[spans[0].from:spans[0].to]):
		return false, errForeignProtocol
	}
	if err := r.checkArgs(int64(len(spans))); err != nil {
		return false, err
	}
	r.emit()
	return true, nil
}

// emit returns the command under way to the batch.
func (r *Reader) emit() {
	first := len(r.argv)
	for _, s := range r.spans {
		r.argv = append(r.argv, r.buf[r.head+s.from:r.head+s.to:r.head+s.to])
	}
	r.cmds = append(r.cmds, Command{Args: r.argv[first:len(r.argv):len(r.argv)]})
	r.consume()
}

// consume forgets the bytes up to pos and starts a new command there.
func (r *Reader) consume() {
	r.head += r.pos
	r.pos, r.scanned, r.missing, r.bulk = 0, 0, 0, -1
	r.spans = r.spans[:0]
}

// parseInt reads a decimal number as RESP writes lengths: no plus sign, no
// leading zero, no space.
func parseInt(b []byte) (int64, bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	if b[0] == '0' && (len(b) > 1 || negative) {
		return 0, false
	}
	n := int64(0)
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}
