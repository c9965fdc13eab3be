package msgp

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Each value has one JSON text, and that text leads back to the value.
func TestJSONTable(t *testing.T) {
	tests := []struct {
		value any
		want  string
	}{
		{nil, `null`},
		{true, `true`},
		{false, `false`},
		{0, `0`},
		{int64(math.MinInt64), `-9223372036854775808`},
		{uint64(math.MaxUint64), `18446744073709551615`},
		{2.0, `2.0`},
		{-2.5, `-2.5`},
		{0.1, `0.1`},
		{float64(1 << 53), `9007199254740992.0`},
		{1e20, `100000000000000000000.0`},
		{1e21, `1e+21`},
		{1e-6, `0.000001`},
		{1e-7, `1e-07`},
		{math.MaxFloat64, `1.7976931348623157e+308`},
		{math.SmallestNonzeroFloat64, `5e-324`},
		{math.Inf(1), `{"$float":"+Inf"}`},
		{math.Inf(-1), `{"$float":"-Inf"}`},
		{"", `""`},
		{"plain ü 😀 </script>", `"plain ü 😀 </script>"`},
		{"\"\\/\b\f\n\r\t\x00\x1f\x7f", `"\"\\/\u0008\u000c\n\r\t\u0000\u001f` + "\x7f\""},
		{"half \xff", `{"$string":"aGFsZiD/"}`},
		{[]byte("hi"), `{"$bytes":"aGk="}`},
		{time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.FixedZone("", 3600)), `{"$time":"2026-01-02T02:04:05.6Z"}`},
		{time.Unix(minInstant, 0), `{"$time":"0000-01-01T00:00:00Z"}`},
		{[]any{}, `[]`},
		{[]any{1, "a", []any{nil}}, `[1,"a",[null]]`},
		{map[string]any{}, `{}`},
		{map[string]any{"b": 1, "a": map[string]any{"x": 1.0}}, `{"a":{"x":1.0},"b":1}`},
		{map[any]any{1: "a", "b": 2}, `{"$map":[[1,"a"],["b",2]]}`},
		{map[string]any{"\xff": 1}, `{"$map":[[{"$string":"/w=="},1]]}`},
		{map[string]any{"$bytes": "aGk="}, `{"$map":[["$bytes","aGk="]]}`},
		{map[string]any{"$map": map[string]any{"$map": 1}}, `{"$map":[["$map",{"$map":[["$map",1]]}]]}`},
		{map[string]any{"$map": 1, "a": 2}, `{"a":2,"$map":1}`},
		{map[string]any{"$other": 1}, `{"$other":1}`},
	}
	for _, tt := range tests {
		value := appended(t, tt.value)
		got, err := AppendJSON([]byte("kept"), value)
		if err != nil || string(got) != "kept"+tt.want {
			t.Errorf("AppendJSON(%#v) = %s, %v; want %s", tt.value, got, err, tt.want)
		}
		back, err := FromJSON([]byte("kept"), []byte(tt.want))
		if err != nil || !bytes.Equal(back, append([]byte("kept"), value...)) {
			t.Errorf("FromJSON(%s) = % x, %v; want % x", tt.want, back, err, value)
		}
	}
}

// JSON that AppendJSON would write otherwise is read all the same.
func TestFromJSONTable(t *testing.T) {
	tests := []struct {
		text string
		want any
	}{
		{" \t\r\n[ 1 , { \"a\" : 2 } ] ", []any{1, map[string]any{"a": 2}}},
		{`-0`, 0},
		{`-0.0`, 0.0},
		{`1E2`, 100.0},
		{`1e-400`, 0.0},
		{`"\u00fc\ud83d\ude00\/"`, "ü😀/"},
		{`"\u0041` + strings.Repeat("x", 300) + `"`, "A" + strings.Repeat("x", 300)},
		{`{"b":1,"\u0061":2}`, map[string]any{"a": 2, "b": 1}},
		{`{"$map":[["b",1],["a",2]]}`, map[string]any{"a": 2, "b": 1}},
		{`{"$map":[]}`, map[string]any{}},
		{`{"$bytes":""}`, []byte{}},
		{`{"$time":"2026-01-02T03:04:05+01:00"}`, time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC)},
		{`[` + strings.Repeat(`0,`, 99) + `0]`, make100()},
	}
	for _, tt := range tests {
		want := appended(t, tt.want)
		if got, err := FromJSON(nil, []byte(tt.text)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("FromJSON(%s) = % x, %v; want % x", tt.text, got, err, want)
		}
	}
}

func make100() []int { return make([]int, 100) }

// Anything that is not one JSON value, or could not be given back, is
// refused with its reason.
func TestFromJSONRefusals(t *testing.T) {
	tests := []struct {
		text string
		want error
	}{
		{``, ErrJSON}, {` `, ErrJSON}, {`nul`, ErrJSON}, {`True`, ErrJSON}, {`NaN`, ErrJSON}, {`'a'`, ErrJSON},
		{`1 2`, ErrTrailing}, {`{}]`, ErrTrailing}, {`nullx`, ErrTrailing},
		{`01`, ErrJSON}, {`-`, ErrJSON}, {`+1`, ErrJSON}, {`1.`, ErrJSON}, {`.5`, ErrJSON}, {`1e`, ErrJSON}, {`1e+`, ErrJSON}, {`-01`, ErrJSON},
		{`18446744073709551616`, ErrRange}, {`-9223372036854775809`, ErrRange}, {`1e309`, ErrRange},
		{`[`, ErrJSON}, {`[1`, ErrJSON}, {`[1,]`, ErrJSON}, {`[,1]`, ErrJSON}, {`[1 2]`, ErrJSON}, {`[1}`, ErrJSON},
		{`{`, ErrJSON}, {`{"a"`, ErrJSON}, {`{"a":`, ErrJSON}, {`{"a":1`, ErrJSON}, {`{"a":1,}`, ErrJSON}, {`{a:1}`, ErrJSON}, {`{1:1}`, ErrJSON}, {`{"a" 1}`, ErrJSON},
		{`"a`, ErrJSON}, {`"a\"`, ErrJSON}, {`"\x"`, ErrJSON}, {`"\u12"`, ErrJSON}, {`"\u12g4"`, ErrJSON}, {"\"\n\"", ErrJSON}, {"\"\\n\n\"", ErrJSON},
		{`"\ud800"`, ErrJSON}, {`"\ud800\u0041"`, ErrJSON}, {`"\udc00"`, ErrJSON}, {`"\ud800\ud800"`, ErrJSON}, {`"\`, ErrJSON},
		{"\"\xff\"", ErrJSON}, {"\"\\n\xff\"", ErrJSON}, {"{\"\xff\":1}", ErrJSON},
		{`{"a":1,"b":2,"a":3}`, ErrDuplicateKey}, {`{"a":1,"\u0061":3}`, ErrDuplicateKey}, {`{"$map":[["a",1],["a",1]]}`, ErrDuplicateKey},
		{`{"$bytes":1}`, ErrJSON}, {`{"$bytes":"a"}`, ErrJSON}, {`{"$string":"!"}`, ErrJSON}, {`{"$float":"NaN"}`, ErrJSON},
		{`{"$time":"yesterday"}`, ErrJSON}, {`{"$time":"0000-01-01T00:00:00+01:00"}`, ErrRange},
		{`{"$map":1}`, ErrJSON}, {`{"$map":[1]}`, ErrJSON}, {`{"$map":[[1]]}`, ErrJSON}, {`{"$map":[[1,2,3]]}`, ErrJSON}, {`{"$map":[[1.0,2]]}`, ErrKey}, {`{"$map":[[[],2]]}`, ErrKey},
		{strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), ErrTooDeep},
		{strings.Repeat(`{"$map":[[0,`, MaxDepth+1) + `0` + strings.Repeat(`]]}`, MaxDepth+1), ErrTooDeep},
		{strings.Repeat("[", 6<<20), ErrTooDeep},
		{strings.Repeat(`{"":`, 1<<20), ErrTooDeep},
		{`[` + strings.Repeat(`0.5,`, MaxValue/8) + `0]`, ErrTooLarge},
		{`{"` + strings.Repeat("x", MaxValue) + `":1}`, ErrTooLarge},
		{`"\n` + strings.Repeat("x", MaxValue+10) + `"`, ErrTooLarge},
	}
	for _, tt := range tests {
		got, err := FromJSON([]byte("kept"), []byte(tt.text))
		if !errors.Is(err, tt.want) || string(got) != "kept" {
			t.Errorf("FromJSON(%.60q) = %s, %v; want %v", tt.text, describe(got), err, tt.want)
		}
	}
}

// Depth is counted in the value, not in the text: $map objects cost no more
// than the maps they stand for.
func TestFromJSONDepthIsTheValues(t *testing.T) {
	text := strings.Repeat(`{"$map":[[0,`, MaxDepth) + `0` + strings.Repeat(`]]}`, MaxDepth)
	got, err := FromJSON(nil, []byte(text))
	if err != nil || !IsCanonical(got) {
		t.Fatalf("% x, %v", got, err)
	}
	back, err := AppendJSON(nil, got)
	if err != nil || string(back) != text {
		t.Fatalf("%s, %v", back, err)
	}
}

// A text far above MaxValue is refused once MaxValue has been read, not after
// all of it has been copied.
func TestFromJSONStopsAtMaxValue(t *testing.T) {
	x := strings.Repeat("x", 16<<20)
	for _, tt := range []struct {
		name, text string
		limit      uint64 // of allocation in units of MaxValue, with all doublings of dst
	}{
		{"string", `"` + x + `"`, 8},
		{"escaped", `"\n` + x + `"`, 8},
		{"name", `{"` + x + `":1}`, 8},
		{"many numbers", `[` + strings.Repeat("1,", 2<<20) + `1]`, 8},
		{"many names", `{` + strings.Repeat(`"":1,`, 1<<20) + `"":1}`, 48}, // 12 bytes of notes for 2 of dst
	} {
		src := []byte(tt.text)
		var err error
		if got := allocated(func() { _, err = FromJSON(nil, src) }); !errors.Is(err, ErrTooLarge) || got > tt.limit*MaxValue {
			t.Errorf("%s: %v after allocating %d bytes", tt.name, err, got)
		}
	}
}

// AppendJSON refuses what JSON could not give back.
func TestAppendJSONRefusals(t *testing.T) {
	tests := []struct {
		name  string
		input []byte
		want  error
	}{
		{"NaN", AppendFloat([]byte{0x91}, math.NaN()), ErrNaN},
		{"foreign extension", unhex(t, "92 01 d40500"), ErrType},
		{"two values", unhex(t, "01 02"), ErrTrailing},
		{"nothing", nil, ErrTruncated},
		{"too deep", nested(MaxDepth + 1), ErrTooDeep},
	}
	for _, tt := range tests {
		if got, err := AppendJSON([]byte("kept"), tt.input); !errors.Is(err, tt.want) || string(got) != "kept" {
			t.Errorf("%s: %s, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}

// Every canonical value survives the way to JSON and back, and the text is
// valid JSON to another parser.
func TestJSONRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := appended(t, anyValue(3).Draw(t, "value"))
		text, err := AppendJSON(nil, value)
		if err != nil || !json.Valid(text) {
			t.Fatalf("AppendJSON(% x) = %s, %v", value, text, err)
		}
		back, err := FromJSON(nil, text)
		if err != nil || !bytes.Equal(back, value) {
			t.Fatalf("% x\nto %s\nto % x, %v", value, text, back, err)
		}
	})
}

// FromJSON reads texts as the standard library does, where that is lossless.
func TestFromJSONAgreesWithStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(rapid.StringOfN(rapid.RuneFrom([]rune(`[]{}:,"\/ubn 019.-+eEtrufalsn`+"\n\u00fc")), 0, 24, -1).Draw(t, "text"))
		agreeWithStandardLibrary(t, text)
		value := anyValue(2).Draw(t, "value")
		if strings.Contains(string(appended(t, value)), "$") {
			return
		}
		if text, err := json.MarshalIndent(value, "", " "); err == nil {
			agreeWithStandardLibrary(t, text)
		}
	})
}

// agreeWithStandardLibrary fails if FromJSON accepts what is no JSON, or
// reads another value than encoding/json does.
func agreeWithStandardLibrary(t interface {
	Helper()
	Fatalf(string, ...any)
}, text []byte) {
	t.Helper()
	got, err := FromJSON(nil, text)
	if err != nil {
		if errors.Is(err, ErrJSON) && json.Valid(text) && !strings.Contains(string(text), `\u`) && !strings.Contains(string(text), `$`) && utf8Valid(text) {
			t.Fatalf("FromJSON(%q): %v, though it is JSON", text, err)
		}
		return
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var want any
	if err := dec.Decode(&want); err != nil || !json.Valid(text) {
		t.Fatalf("FromJSON accepts %q: %v", text, err)
	}
	ours, err := Decode(got)
	if err != nil {
		t.Fatalf("Decode(% x): %v", got, err)
	}
	if !strings.Contains(string(text), "$") && !reflect.DeepEqual(ours, numbers(want)) {
		t.Fatalf("FromJSON(%q) gives %#v, want %#v", text, ours, numbers(want))
	}
}

func utf8Valid(b []byte) bool { return bytes.Equal(bytes.ToValidUTF8(b, []byte("?")), b) }

// numbers turns json.Numbers into integers or floats by their spelling.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if strings.ContainsAny(string(v), ".eE") {
			f, _ := v.Float64()
			return f + 0 // -0.0 becomes 0.0
		}
		i, err := v.Int64()
		if err != nil {
			var u uint64
			_ = json.Unmarshal([]byte(v), &u)
			return u
		}
		return i
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}
