package msgp

import (
	"encoding/base64"
	"fmt"
	"math"
	"time"
)

// replaceReserved looks at the object at offset at, which has one pair and
// is the last thing in dst. If its name is reserved it becomes the value
// that it stands for, and done is true.
func (b *builder) replaceReserved(at int) (done bool, err error) {
	object := b.dst[b.base+at:]
	name, value, err := ReadString(object[1:])
	if ordinary := err != nil || !reserved(string(name)); ordinary {
		return false, nil
	}
	if string(name) == jsonMap {
		return true, b.replacePairs(at, len(object)-len(value))
	}
	text, _, err := ReadString(value)
	if err != nil {
		return false, fmt.Errorf("%w: %s needs a string", ErrJSON, name)
	}
	// The value takes no more bytes than the object, so it could be written
	// over its own source; text is copied first.
	out := b.dst[:b.base+at]
	switch string(name) {
	case jsonFloat:
		switch string(text) {
		case "+Inf":
			b.dst = AppendFloat(out, math.Inf(1))
		case "-Inf":
			b.dst = AppendFloat(out, math.Inf(-1))
		default:
			return false, fmt.Errorf("%w: %s is +Inf or -Inf", ErrJSON, name)
		}
	case jsonTime:
		t, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil {
			return false, fmt.Errorf("%w: %s needs a time as in RFC 3339", ErrJSON, name)
		}
		i := instant{sec: t.Unix(), nsec: uint32(t.Nanosecond())}
		if i.sec < minInstant || i.sec > maxInstant {
			return false, ErrRange
		}
		b.dst = appendInstant(out, i)
	default:
		raw, err := base64.StdEncoding.Strict().AppendDecode(nil, text)
		if err != nil {
			return false, fmt.Errorf("%w: %s needs standard base64", ErrJSON, name)
		}
		if string(name) == jsonBytes {
			b.dst = AppendBytes(out, raw)
		} else {
			b.dst = AppendString(out, raw)
		}
	}
	return true, nil
}

// replacePairs turns the $map object at offset at, whose value lies skip
// bytes further, into the map of its pairs.
func (b *builder) replacePairs(at, skip int) error {
	malformed := fmt.Errorf("%w: %s needs an array of [key, value] arrays", ErrJSON, jsonMap)
	value := b.dst[b.base:]
	list, err := readHead(value, at+skip)
	if err != nil || list.kind != Array {
		return malformed
	}
	m := openedMap{body: at + 1, first: len(b.pairs)}
	pos := list.end
	for range list.items {
		h, err := readHead(value, pos)
		if err != nil || h.kind != Array || h.items != 2 {
			return malformed
		}
		key, err := readHead(value, h.end)
		if err != nil {
			return malformed
		}
		if key.kind != String && key.kind != Int {
			return ErrKey
		}
		if pos = after(value, key.end); pos > len(value) {
			return ErrTooDeep // what the parser appended cannot be wrong otherwise
		}
		b.pairs = append(b.pairs, pair{key: int32(h.end), val: int32(key.end), end: int32(pos)})
	}
	if err := b.closeMap(m); err != nil {
		return err
	}
	b.setCount(at, list.items, codeFixMap, codeMap16)
	return nil
}
