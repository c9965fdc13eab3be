package resp

import (
	"math"
	"strconv"
	"time"

	"github.com/spacegrid/spacegrid/internal/msgp"
)

// integer reads an integer as strictly as Redis: no sign but a minus, no
// leading zero, no space.
func integer(b []byte) (int64, bool) {
	const digits = 20
	if len(b) == 0 || len(b) > digits {
		return 0, false
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || b[0] == '+' || len(b) > 1 && (b[0] == '0' || b[0] == '-' && b[1] == '0') {
		return 0, false
	}
	return n, true
}

// parseFloat reads a floating-point number; not a number is none.
func parseFloat(b []byte) (float64, bool) {
	const digits = 256
	if len(b) == 0 || len(b) > digits {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || math.IsNaN(f) {
		return 0, false
	}
	return f, true
}

// isWord reports whether an argument is a word, in any case. The word is given
// in upper case.
func isWord(arg []byte, word string) bool {
	if len(arg) != len(word) {
		return false
	}
	for i, c := range arg {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != word[i] {
			return false
		}
	}
	return true
}

// appendText appends a value of a field as Redis clients see it: strings and
// bytes as they are, numbers in digits, other values as JSON.
func appendText(dst, value []byte) []byte {
	switch msgp.KindOf(value) {
	case msgp.String:
		s, _, err := msgp.ReadString(value)
		if err == nil {
			return append(dst, s...)
		}
	case msgp.Bytes:
		p, _, err := msgp.ReadBytes(value)
		if err == nil {
			return append(dst, p...)
		}
	case msgp.Int:
		if n, _, err := msgp.ReadInt(value); err == nil {
			return strconv.AppendInt(dst, n, 10)
		}
		if n, _, err := msgp.ReadUint(value); err == nil {
			return strconv.AppendUint(dst, n, 10)
		}
	case msgp.Float:
		if f, _, err := msgp.ReadFloat(value); err == nil {
			return strconv.AppendFloat(dst, f, 'f', -1, 64)
		}
	case msgp.Ext:
		if t, _, err := msgp.ReadTime(value); err == nil {
			return t.AppendFormat(dst, time.RFC3339Nano)
		}
	}
	if text, err := msgp.AppendJSON(dst, value); err == nil {
		return text
	}
	return dst
}
