package web

import (
	"encoding/base64"
	"errors"
	"strconv"
	"time"

	"github.com/spacegrid/spacegrid/grid"
	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// appendEntry appends an entry as a JSON object: key, version, value.
func appendEntry(dst []byte, e *grid.Entry) ([]byte, error) {
	dst = appendKey(append(dst, `{"key":`...), e.Key)
	dst = append(dst, `,"version":`...)
	dst = strconv.AppendUint(dst, uint64(e.Version), 10)
	dst = append(dst, `,"value":`...)
	dst, err := appendEntryValue(dst, e)
	if err != nil {
		return nil, err
	}
	return append(dst, '}'), nil
}

// appendEntryValue appends an entry's value: an object of fields, or the
// reserved object that stands for bytes. Fields that look like the latter are
// told apart by the JSON bridge.
func appendEntryValue(dst []byte, e *grid.Entry) ([]byte, error) {
	if e.Kind == grid.Bytes {
		dst = append(dst, `{"$bytes":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, e.Value)
		return append(dst, `"}`...), nil
	}
	return msgp.AppendJSON(dst, e.Value)
}

// appendKey appends a key as JSON: a string, or the reserved object for text
// that is not UTF-8.
func appendKey(dst, key []byte) []byte {
	out, err := msgp.AppendJSON(dst, msgp.AppendString(nil, key))
	if err != nil {
		panic("web: a key has no JSON: " + err.Error())
	}
	return out
}

// parseFields reads a JSON object as the canonical value of an entry of fields.
func parseFields(text []byte) ([]byte, error) {
	value, err := msgp.FromJSON(nil, text)
	if err != nil {
		return nil, err
	}
	if msgp.KindOf(value) != msgp.Map {
		return nil, invalid("the value is not a JSON object", "an entry of fields is an object; send bytes as application/octet-stream")
	}
	return value, nil
}

// parseLease reads how long an entry shall live: a duration, forever, or nothing
// for the space's default.
func parseLease(text string) (time.Duration, error) {
	switch text {
	case "":
		return 0, nil
	case "forever":
		return grid.Forever, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, invalid("the lease "+strconv.Quote(text)+" is no positive duration", "write 30s, 5m or forever")
	}
	return d, nil
}

// etag is the entity tag of a version.
func etag(v grid.Version) string { return `"` + strconv.FormatUint(uint64(v), 10) + `"` }

var errETag = errors.New("web: not a version")

// parseETag reads an entity tag that etag made.
func parseETag(text string) (grid.Version, error) {
	if len(text) < 3 || text[0] != '"' || text[len(text)-1] != '"' {
		return 0, errETag
	}
	v, err := strconv.ParseUint(text[1:len(text)-1], 10, 64)
	if err != nil || v == 0 {
		return 0, errETag
	}
	return space.Seq(v), nil
}
