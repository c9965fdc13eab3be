package resp

import (
	"io"
	"math"
	"strconv"
	"unicode/utf8"
)

const (
	// writerFlush is the size at which replies leave although their batch is
	// not done; an element this large or larger is not copied at all. So a
	// connection holds less than twice this for writing, however large its
	// replies are.
	writerFlush = 64 << 10
	// writerKeep is the most buffer an idle connection holds for writing.
	writerKeep = 4 << 10
	// writerErrorText is the longest text of an error or status reply, in bytes.
	writerErrorText = 1 << 10
)

// Writer appends replies, encoded for the protocol version the client chose.
// Types that only RESP3 has are written in the form Redis gives them in RESP2:
// a map as a flat array, a set or a push as an array, a double, a big number or
// a verbatim text as a bulk string, a boolean as 1 or 0.
//
// Replies gather in a buffer that leaves at the end of the batch, or as soon as
// it holds 64 KiB. When the client cannot be written to, the Writer remembers
// the error and drops what follows: handlers need not look, though one that
// makes a long reply may ask Err to stop early.
//
// The Writer counts elements, so it knows where a reply ends and how many have
// been made. Announcing n elements and writing another number of them is a bug
// of the caller and is found at the end of the batch.
//
// A Writer is used by one goroutine. Byte slices given to it are not kept.
type Writer struct {
	dst   io.Writer
	proto int
	buf   []byte
	open  int // elements that the reply under way still lacks; 0 between replies
	made  int // replies completed or begun since the last Begin
	err   error
}

// NewWriter returns a Writer to dst that speaks RESP2.
func NewWriter(dst io.Writer) *Writer { return &Writer{dst: dst, proto: 2} }

// Proto returns the protocol version, 2 or 3.
func (w *Writer) Proto() int { return w.proto }

// SetProto chooses the protocol version of the replies from here on.
func (w *Writer) SetProto(version int) {
	if version != 2 && version != 3 {
		panic("resp: protocol version " + strconv.Itoa(version))
	}
	w.proto = version
}

// Err returns the error that ended the connection for writing, if any.
func (w *Writer) Err() error { return w.err }

// Begin starts the count of replies anew.
func (w *Writer) Begin() { w.made = 0 }

// Replies returns how many replies were made since Begin, and whether the last
// of them is complete.
func (w *Writer) Replies() (made int, complete bool) { return w.made, w.open == 0 }

// Flush writes out what has gathered. It blocks as dst does.
func (w *Writer) Flush() error {
	w.flush()
	return w.err
}

func (w *Writer) flush() {
	if len(w.buf) > 0 {
		w.write(w.buf)
		w.buf = w.buf[:0]
	}
}

// Trim gives back all but a small buffer. For a connection that has been idle.
func (w *Writer) Trim() {
	if len(w.buf) == 0 && cap(w.buf) > writerKeep {
		w.buf = nil
	}
}

// Held returns the bytes of the buffer.
func (w *Writer) Held() int { return cap(w.buf) }

// Status appends a simple string such as OK. Line ends in it become spaces.
func (w *Writer) Status(text string) { w.line('+', text) }

// OK appends the status OK.
func (w *Writer) OK() {
	w.buf = append(w.buf, "+OK\r\n"...)
	w.item(0)
}

// Error appends an error reply. The text starts with its code, as in "ERR no
// such key"; line ends in it become spaces, and it is cut at 1 KiB, so it may
// quote what the client sent.
func (w *Writer) Error(text string) { w.line('-', text) }

func (w *Writer) line(kind byte, text string) {
	w.buf = append(w.buf, kind)
	w.buf = appendLine(w.buf, text)
	w.buf = append(w.buf, '\r', '\n')
	w.item(0)
}

// Int appends an integer.
func (w *Writer) Int(n int64) {
	if 0 <= n && n < 10 {
		w.buf = append(w.buf, ':', '0'+byte(n), '\r', '\n')
	} else {
		w.buf = appendNumber(w.buf, ':', n)
	}
	w.item(0)
}

// Bulk appends a byte string.
func (w *Writer) Bulk(b []byte) {
	w.buf = appendNumber(w.buf, '$', int64(len(b)))
	if len(b) < writerFlush {
		w.buf = append(w.buf, b...)
	} else {
		w.flush()
		w.write(b)
	}
	w.buf = append(w.buf, '\r', '\n')
	w.item(0)
}

// BulkString appends a byte string held in a string.
func (w *Writer) BulkString(s string) {
	w.buf = appendNumber(w.buf, '$', int64(len(s)))
	for len(s) >= writerFlush {
		w.buf = append(w.buf, s[:writerFlush]...)
		w.flush()
		s = s[writerFlush:]
	}
	w.buf = append(w.buf, s...)
	w.buf = append(w.buf, '\r', '\n')
	w.item(0)
}

// Null appends the absent value.
func (w *Writer) Null() { w.null("$-1\r\n") }

// NullArray appends the absent array, as EXEC answers when a watched key changed.
func (w *Writer) NullArray() { w.null("*-1\r\n") }

func (w *Writer) null(resp2 string) {
	if w.proto == 3 {
		resp2 = "_\r\n"
	}
	w.buf = append(w.buf, resp2...)
	w.item(0)
}

// Array announces an array; its n elements follow.
func (w *Writer) Array(n int) { w.aggregate('*', n, n) }

// Map announces a map; n keys follow, each with its value behind it.
func (w *Writer) Map(n int) { w.aggregate('%', n, 2*n) }

// Set announces a set; its n elements follow.
func (w *Writer) Set(n int) { w.aggregate('~', n, n) }

// Push announces a message that answers no command; its n elements follow. It
// must not be made within a reply.
func (w *Writer) Push(n int) {
	if w.open != 0 {
		panic("resp: push within a reply")
	}
	w.aggregate('>', n, n)
	w.made--
}

// aggregate announces n of a kind that RESP2, which knows arrays only, lists as
// so many elements.
func (w *Writer) aggregate(resp3 byte, n, elements int) {
	if n < 0 {
		panic("resp: aggregate of " + strconv.Itoa(n) + " elements")
	}
	if w.proto == 3 {
		w.buf = appendNumber(w.buf, resp3, int64(n))
	} else {
		w.buf = appendNumber(w.buf, '*', int64(elements))
	}
	w.item(elements)
}

// Double appends a floating-point number in its shortest exact form.
func (w *Writer) Double(f float64) {
	var digits [32]byte
	text := appendDouble(digits[:0], f)
	if w.proto == 2 {
		w.Bulk(text)
		return
	}
	w.buf = append(w.buf, ',')
	w.buf = append(w.buf, text...)
	w.buf = append(w.buf, '\r', '\n')
	w.item(0)
}

// Bool appends a boolean.
func (w *Writer) Bool(yes bool) {
	n := int64(0)
	text := "#f\r\n"
	if yes {
		n, text = 1, "#t\r\n"
	}
	if w.proto == 2 {
		w.Int(n)
		return
	}
	w.buf = append(w.buf, text...)
	w.item(0)
}

// BigNumber appends an integer of any size, given in decimal digits.
func (w *Writer) BigNumber(digits string) {
	if w.proto == 2 {
		w.BulkString(digits)
		return
	}
	w.line('(', digits)
}

// Verbatim appends a text and its format, three letters such as "txt".
func (w *Writer) Verbatim(format, text string) {
	if len(format) != 3 {
		panic("resp: verbatim format " + strconv.Quote(format))
	}
	if w.proto == 2 {
		w.BulkString(text)
		return
	}
	w.buf = appendNumber(w.buf, '=', int64(len(format)+1+len(text)))
	w.buf = append(w.buf, format...)
	w.buf = append(w.buf, ':')
	w.buf = append(w.buf, text...)
	w.buf = append(w.buf, '\r', '\n')
	w.item(0)
}

// item counts the element just appended, which announced some more.
func (w *Writer) item(announced int) {
	if w.open == 0 {
		w.made++
		w.open = 1
	}
	w.open += announced - 1
	if len(w.buf) >= writerFlush {
		w.flush()
	}
}

func (w *Writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.dst.Write(b)
	}
}

func appendNumber(b []byte, kind byte, n int64) []byte {
	b = append(b, kind)
	b = strconv.AppendInt(b, n, 10)
	return append(b, '\r', '\n')
}

// appendLine appends text as it may stand on a line, cut between characters.
func appendLine(b []byte, text string) []byte {
	if len(text) > writerErrorText {
		end := writerErrorText
		for end > writerErrorText-utf8.UTFMax && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	for i := range len(text) {
		c := text[i]
		if c == '\r' || c == '\n' {
			c = ' '
		}
		b = append(b, c)
	}
	return b
}

// appendDouble writes f as Redis does: inf, -inf and nan in words.
func appendDouble(b []byte, f float64) []byte {
	switch {
	case math.IsInf(f, 1):
		return append(b, "inf"...)
	case math.IsInf(f, -1):
		return append(b, "-inf"...)
	case math.IsNaN(f):
		return append(b, "nan"...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64)
}
