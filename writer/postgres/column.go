package postgres

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/spacegrid/spacegrid/grid/space"
	"github.com/spacegrid/spacegrid/internal/msgp"
)

// columnType is a type that a column may have.
type columnType struct {
	name   string // as PostgreSQL calls it
	oid    uint32 // of the values that are sent
	array  string // the type of a parameter with many of them
	cast   string // from what is sent to the column, where assignment would not do
	append func(dst, value []byte) ([]byte, string)
}

// columnTypes lists the types. What is sent is PostgreSQL's binary form; append
// makes it from one encoded value that is not nil, or says why it cannot.
var columnTypes = []columnType{
	{"text", pgtype.TextOID, "text[]", "", appendText},
	{"character varying", pgtype.TextOID, "text[]", "", appendText},
	{"bytea", pgtype.ByteaOID, "bytea[]", "", appendBytea},
	{"boolean", pgtype.BoolOID, "boolean[]", "", appendBool},
	{"smallint", pgtype.Int2OID, "smallint[]", "", appendSmallint},
	{"integer", pgtype.Int4OID, "integer[]", "", appendInteger},
	{"bigint", pgtype.Int8OID, "bigint[]", "", appendBigint},
	{"double precision", pgtype.Float8OID, "double precision[]", "", appendDouble},
	{"numeric", pgtype.TextOID, "text[]", "::numeric", appendNumeric},
	{"timestamp with time zone", pgtype.TimestamptzOID, "timestamptz[]", "", appendTimestamp},
	{"jsonb", pgtype.JSONBOID, "jsonb[]", "", appendJSONB},
	{"uuid", pgtype.UUIDOID, "uuid[]", "", appendUUID},
}

// typeAliases are the short names that people write.
var typeAliases = map[string]string{
	"varchar": "character varying", "bool": "boolean", "int2": "smallint", "int4": "integer", "int": "integer",
	"int8": "bigint", "float8": "double precision", "timestamptz": "timestamp with time zone", "decimal": "numeric",
}

// parseType reads a column's type: the name in PostgreSQL's own spelling, and the
// modifier such as "(20)", if it has one.
func parseType(text string) (t *columnType, modifier string, err error) {
	name := strings.ToLower(strings.TrimSpace(text))
	if base, rest, ok := strings.Cut(name, "("); ok {
		name, modifier = strings.TrimSpace(base), "("+strings.ReplaceAll(rest, " ", "")
	}
	if full := typeAliases[name]; full != "" {
		name = full
	}
	for i := range columnTypes {
		if columnTypes[i].name == name {
			t = &columnTypes[i]
		}
	}
	switch {
	case t == nil:
		known := make([]string, len(columnTypes))
		for i := range columnTypes {
			known[i] = columnTypes[i].name
		}
		return nil, "", fmt.Errorf("type %q is none of %s", text, strings.Join(known, ", "))
	case modifier != "" && !modifierOK(name, modifier):
		return nil, "", fmt.Errorf("type %q: only varchar(n), numeric(p) and numeric(p,s) have a modifier", text)
	}
	return t, modifier, nil
}

func modifierOK(name, modifier string) bool {
	inner, ok := strings.CutSuffix(modifier[1:], ")")
	if !ok {
		return false
	}
	parts := strings.Split(inner, ",")
	most := map[string]int{"character varying": 1, "numeric": 2}[name]
	for _, p := range parts {
		if _, err := strconv.ParseUint(p, 10, 16); err != nil {
			return false
		}
	}
	return len(parts) <= most
}

// textOK reports whether PostgreSQL keeps b as text: UTF-8 without NUL.
func textOK(b []byte) bool { return utf8.Valid(b) && bytes.IndexByte(b, 0) < 0 }

func unlike(value []byte, what string) string {
	return fmt.Sprintf("a value of kind %s is no %s", msgp.KindOf(value), what)
}

func appendText(dst, value []byte) ([]byte, string) {
	s, _, err := msgp.ReadString(value)
	switch {
	case err != nil:
		return dst, unlike(value, "text")
	case !textOK(s):
		return dst, "the text has a NUL in it or is not UTF-8, which PostgreSQL does not keep"
	}
	return append(dst, s...), ""
}

func appendBytea(dst, value []byte) ([]byte, string) {
	b, _, err := msgp.ReadBytes(value)
	if err != nil {
		if b, _, err = msgp.ReadString(value); err != nil {
			return dst, unlike(value, "bytes")
		}
	}
	return append(dst, b...), ""
}

func appendBool(dst, value []byte) ([]byte, string) {
	v, _, err := msgp.ReadBool(value)
	switch {
	case err != nil:
		return dst, unlike(value, "boolean")
	case v:
		return append(dst, 1), ""
	}
	return append(dst, 0), ""
}

// whole reads an integer, or a float that is one.
func whole(value []byte, low, high int64) (int64, string) {
	const outside = "the number is out of the range of the column"
	switch msgp.KindOf(value) {
	case msgp.Int:
		v, _, err := msgp.ReadInt(value)
		if err != nil || v < low || v > high {
			return 0, outside
		}
		return v, ""
	case msgp.Float:
		f, _, err := msgp.ReadFloat(value)
		if err != nil || f != math.Trunc(f) {
			return 0, "the number is not whole"
		}
		// -low is a power of two and high one less: the comparison is exact.
		if f < float64(low) || f >= -float64(low) {
			return 0, outside
		}
		return int64(f), ""
	}
	return 0, unlike(value, "number")
}

func appendSmallint(dst, value []byte) ([]byte, string) {
	v, why := whole(value, math.MinInt16, math.MaxInt16)
	if why != "" {
		return dst, why
	}
	return binary.BigEndian.AppendUint16(dst, uint16(v)), ""
}

func appendInteger(dst, value []byte) ([]byte, string) {
	v, why := whole(value, math.MinInt32, math.MaxInt32)
	if why != "" {
		return dst, why
	}
	return binary.BigEndian.AppendUint32(dst, uint32(v)), ""
}

func appendBigint(dst, value []byte) ([]byte, string) {
	v, why := whole(value, math.MinInt64, math.MaxInt64)
	if why != "" {
		return dst, why
	}
	return binary.BigEndian.AppendUint64(dst, uint64(v)), ""
}

func appendDouble(dst, value []byte) ([]byte, string) {
	var f float64
	switch msgp.KindOf(value) {
	case msgp.Float:
		v, _, err := msgp.ReadFloat(value)
		if err != nil || math.IsNaN(v) {
			return dst, "not a number"
		}
		f = v
	case msgp.Int:
		text, why := appendNumeric(nil, value)
		if why != "" {
			return dst, why
		}
		exact, ok := new(big.Int).SetString(string(text), 10)
		if !ok {
			return dst, unlike(value, "number")
		}
		v, accuracy := new(big.Float).SetInt(exact).Float64()
		if accuracy != big.Exact {
			return dst, "the integer has more digits than a double precision keeps (use bigint or numeric)"
		}
		f = v
	default:
		return dst, unlike(value, "number")
	}
	return binary.BigEndian.AppendUint64(dst, math.Float64bits(f)), ""
}

// appendNumeric appends a number as text, from which the server makes it.
func appendNumeric(dst, value []byte) ([]byte, string) {
	switch msgp.KindOf(value) {
	case msgp.Int:
		if v, _, err := msgp.ReadInt(value); err == nil {
			return strconv.AppendInt(dst, v, 10), ""
		}
		if v, _, err := msgp.ReadUint(value); err == nil {
			return strconv.AppendUint(dst, v, 10), ""
		}
	case msgp.Float:
		v, _, err := msgp.ReadFloat(value)
		switch {
		case err != nil || math.IsNaN(v):
			return dst, "not a number"
		case math.IsInf(v, 1):
			return append(dst, "Infinity"...), ""
		case math.IsInf(v, -1):
			return append(dst, "-Infinity"...), ""
		}
		return strconv.AppendFloat(dst, v, 'g', -1, 64), ""
	}
	return dst, unlike(value, "number")
}

// postgresEpoch is the time that timestamps are counted from, in microseconds.
var postgresEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func appendTimestamp(dst, value []byte) ([]byte, string) {
	t, _, err := msgp.ReadTime(value)
	if err != nil {
		return dst, unlike(value, "timestamp")
	}
	return binary.BigEndian.AppendUint64(dst, uint64(t.UnixMicro()-postgresEpoch)), ""
}

// jsonbVersion begins the binary form of jsonb.
const jsonbVersion = 1

func appendJSONB(dst, value []byte) ([]byte, string) {
	at := len(dst)
	dst, err := msgp.AppendJSON(append(dst, jsonbVersion), value)
	switch {
	case err != nil:
		return dst[:at], err.Error()
	case hasNUL(dst[at:]):
		return dst[:at], "a text in it has a NUL, which jsonb does not keep"
	}
	return dst, ""
}

// hasNUL reports whether JSON text has the escape of a NUL.
func hasNUL(json []byte) bool {
	for rest := json; ; {
		i := bytes.Index(rest, []byte(`\u0000`))
		if i < 0 {
			return false
		}
		// It is one unless its backslash is itself escaped.
		slashes := 0
		for j := i - 1; j >= 0 && rest[j] == '\\'; j-- {
			slashes++
		}
		if slashes%2 == 0 {
			return true
		}
		rest = rest[i+1:]
	}
}

const uuidBytes = 16

func appendUUID(dst, value []byte) ([]byte, string) {
	if b, _, err := msgp.ReadBytes(value); err == nil && len(b) == uuidBytes {
		return append(dst, b...), ""
	}
	s, _, err := msgp.ReadString(value)
	if err != nil {
		return dst, unlike(value, "uuid")
	}
	return appendUUIDText(dst, s)
}

func appendUUIDText(dst, s []byte) ([]byte, string) {
	const why = "not a uuid such as 01234567-89ab-cdef-0123-456789abcdef"
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return dst, why
	}
	digits := make([]byte, 0, 2*uuidBytes)
	for part := range bytes.SplitSeq(s, []byte("-")) {
		digits = append(digits, part...)
	}
	if len(digits) != 2*uuidBytes {
		return dst, why
	}
	out, err := hex.AppendDecode(dst, digits)
	if err != nil {
		return dst, why
	}
	return out, ""
}

// appendKey appends an entry's key as a value of a column of type t. Only what
// reads back as the same key is taken, so that two keys are two rows.
func appendKey(t *columnType, dst, key []byte) ([]byte, string) {
	switch t.name {
	case "bytea":
		return append(dst, key...), ""
	case "text", "character varying":
		if !textOK(key) {
			return dst, "the key has a NUL in it or is not UTF-8, which PostgreSQL does not keep as text"
		}
		return append(dst, key...), ""
	case "bigint":
		v, err := strconv.ParseInt(string(key), 10, 64)
		if err != nil || strconv.FormatInt(v, 10) != string(key) {
			return dst, "the key is no integer in plain decimal"
		}
		return binary.BigEndian.AppendUint64(dst, uint64(v)), ""
	case "uuid":
		if strings.ToLower(string(key)) != string(key) {
			return dst, "the key is no uuid in lower case"
		}
		return appendUUIDText(dst, key)
	}
	panic("postgres: a key in a column of type " + t.name)
}

// keyText returns the text that PostgreSQL gives for a key in a column of type t;
// ok is false if no row can have that key.
func keyText(t *columnType, key []byte) (text []byte, ok bool) {
	if _, why := appendKey(t, nil, key); why != "" {
		return nil, false
	}
	if t.name == "bytea" {
		return nil, true // compared as it is
	}
	return key, true
}

// appendFields appends an entry's fields as jsonb for people to read, or reports
// false if jsonb cannot say them: the entry then has the bytes only.
func appendFields(dst []byte, kind space.Kind, value []byte) ([]byte, bool) {
	if kind != space.KindFields {
		return dst, false
	}
	dst, why := appendJSONB(dst, value)
	return dst, why == ""
}
