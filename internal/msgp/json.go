package msgp

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// The reserved names; the package comment says what they stand for.
const (
	jsonBytes  = "$bytes"
	jsonTime   = "$time"
	jsonFloat  = "$float"
	jsonString = "$string"
	jsonMap    = "$map"
)

func reserved(name string) bool {
	switch name {
	case jsonBytes, jsonTime, jsonFloat, jsonString, jsonMap:
		return true
	}
	return false
}

// AppendJSON appends src, one well-formed value, as JSON without white
// space. Integers stay integers of up to 20 digits. Floats always have a
// point or an exponent and read back as the same float. What JSON has no word
// for becomes a reserved object, as the package comment lays down; the way
// there and back through [FromJSON] keeps every canonical value. It fails as [Check] does, with
// ErrNaN, and with ErrType or ErrRange for an extension that is no
// timestamp; dst is then returned as it was. The output is at most a small
// multiple of src.
func AppendJSON(dst, src []byte) ([]byte, error) {
	if err := Check(src); err != nil {
		return dst, err
	}
	w := jsonWriter{out: dst, src: src}
	if err := w.value(); err != nil {
		return dst, failAt(w.pos, err)
	}
	return w.out, nil
}

// jsonWriter writes src, which has been checked: its depth bounds the
// recursion, and every count in it is true.
type jsonWriter struct {
	out []byte
	src []byte
	pos int
}

// value writes the next value. When it fails, pos is at the value refused.
func (w *jsonWriter) value() error {
	h, err := readHead(w.src, w.pos)
	if err != nil {
		return err
	}
	v, payload := w.src[w.pos:h.end], w.src[h.body:h.end]
	switch h.kind {
	case Array, Map:
		w.pos = h.end
		if h.kind == Map {
			return w.object(h.items / 2)
		}
		return w.list('[', h.items, ']')
	case Nil:
		w.out = append(w.out, "null"...)
	case Bool:
		w.out = strconv.AppendBool(w.out, v[0] == codeTrue)
	case Int:
		w.out = appendDecimal(w.out, integerAt(v))
	case Float:
		err = w.float(floatAt(v))
	case String:
		w.text(payload)
	case Bytes:
		w.out = appendReserved(w.out, jsonBytes, base64.StdEncoding.AppendEncode(nil, payload))
	case Ext:
		var i instant
		if i, err = timestampPayload(payload); err == nil {
			w.out = appendReserved(w.out, jsonTime, i.time().AppendFormat(nil, time.RFC3339Nano))
		}
	}
	if err == nil {
		w.pos = h.end
	}
	return err
}

// list writes n values between brackets.
func (w *jsonWriter) list(open byte, n int, end byte) error {
	w.out = append(w.out, open)
	for i := range n {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if err := w.value(); err != nil {
			return err
		}
	}
	w.out = append(w.out, end)
	return nil
}

func (w *jsonWriter) object(pairs int) error {
	plain := w.plain(pairs)
	if !plain {
		w.out = append(w.out, `{"`+jsonMap+`":[`...)
	} else {
		w.out = append(w.out, '{')
	}
	for i := range pairs {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		if !plain {
			if err := w.list('[', 2, ']'); err != nil {
				return err
			}
			continue
		}
		if err := w.value(); err != nil {
			return err
		}
		w.out = append(w.out, ':')
		if err := w.value(); err != nil {
			return err
		}
	}
	if !plain {
		w.out = append(w.out, ']')
	}
	w.out = append(w.out, '}')
	return nil
}

// plain reports whether the map whose pairs start at pos can be written as
// an ordinary object.
func (w *jsonWriter) plain(pairs int) bool {
	return everyKey(w.src, w.pos, pairs, func(h head) bool {
		key := w.src[h.body:h.end]
		return h.kind == String && utf8.Valid(key) && !(pairs == 1 && reserved(string(key)))
	})
}

func (w *jsonWriter) float(f float64) error {
	switch {
	case math.IsNaN(f):
		return ErrNaN
	case math.IsInf(f, 1):
		w.out = appendReserved(w.out, jsonFloat, []byte("+Inf"))
		return nil
	case math.IsInf(f, -1):
		w.out = appendReserved(w.out, jsonFloat, []byte("-Inf"))
		return nil
	}
	if f == 0 {
		f = 0 // drops the sign of zero, as canonical form does
	}
	if m := math.Abs(f); m != 0 && (m < 1e-6 || m >= 1e21) {
		w.out = strconv.AppendFloat(w.out, f, 'e', -1, 64)
		return nil
	}
	w.out = strconv.AppendFloat(w.out, f, 'f', -1, 64)
	if f == math.Trunc(f) {
		w.out = append(w.out, ".0"...)
	}
	return nil
}

// text writes a string, by way of a reserved object if it is not UTF-8.
func (w *jsonWriter) text(s []byte) {
	if !utf8.Valid(s) {
		w.out = appendReserved(w.out, jsonString, base64.StdEncoding.AppendEncode(nil, s))
		return
	}
	w.out = appendQuoted(w.out, s)
}

func appendDecimal(dst []byte, i integer) []byte {
	if i.negative {
		return strconv.AppendInt(dst, int64(i.bits), 10)
	}
	return strconv.AppendUint(dst, i.bits, 10)
}

// appendReserved appends an object whose one member is a string without
// anything to escape.
func appendReserved(dst []byte, name string, value []byte) []byte {
	return fmt.Appendf(dst, `{"%s":"%s"}`, name, value)
}

// appendQuoted appends UTF-8 text as a JSON string. Only what JSON demands is
// escaped: quote, backslash and the controls below space.
func appendQuoted(dst, s []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i, c := range s {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
